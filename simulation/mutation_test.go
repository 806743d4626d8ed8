package simulation

import "testing"

// mutation is a mistake in the glue. Zero is none.
type mutation int

const (
	skipsTheHandover mutation = iota + 1
	sendsInOneWrite
	trustsTheHandover
	keepsAfterAFailure
	releasesEarly
	keepsTheAbandoned
	isAlwaysSure
	forgetsAWipe
	forgetsADrop
	forgetsARollback
	forgetsASession
	letsPipelinesGo
	ignoresCancels
	ignoresDoubt
	servesTheExpired
	fencesWithNothing
)

var mutations = map[mutation]string{
	skipsTheHandover:   "no reset and no context for another identity",
	sendsInOneWrite:    "the client's request goes along with a hand-over that no gate protects",
	trustsTheHandover:  "the replies to a hand-over are not awaited",
	keepsAfterAFailure: "a server is used though a step of its hand-over has failed",
	releasesEarly:      "a server is released with an open transaction",
	keepsTheAbandoned:  "a server is kept whatever its client has left in the middle of",
	isAlwaysSure:       "a server is kept though requests and replies cannot be matched",
	forgetsAWipe:       "a client's RESET ALL is not noticed",
	forgetsADrop:       "it is not noticed that an error takes the context away",
	forgetsARollback:   "settings that a rollback takes back are believed",
	forgetsASession:    "what a session has left is not reset for the same identity",
	letsPipelinesGo:    "requests follow each other although an error takes the context away",
	ignoresCancels:     "a server is released while a cancel request is on its way to it",
	ignoresDoubt:       "a server is kept though a cancel request may still arrive",
	fencesWithNothing:  "between the requests of a pipeline stands a call that installs nothing",
	servesTheExpired:   "a transaction begins after the token's end",
}

// TestMistakesAreFound: a test that cannot fail proves nothing. Each mistake must be found.
func TestMistakesAreFound(t *testing.T) {
	for broken, what := range mutations {
		t.Run(what, func(t *testing.T) {
			for seed := range uint64(3000) {
				p, list := written(seed + 1)
				if _, wrong := play(p, broken, list); wrong != "" {
					t.Logf("SIMULATION_SEED=%d: %s", seed+1, wrong)
					return
				}
			}
			t.Error("nobody has noticed")
		})
	}
}
