package pgtest

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Misbehaviours are what a server that is asked over HTTP can do instead of an answer, whoever asks it: nobody may take any of them for
// a yes. yes is the beginning of a JSON object that would be one, without its closing brace; elsewhere is where to lead whoever asks.
func Misbehaviours(yes, elsewhere string) map[string]http.HandlerFunc {
	all := map[string]http.HandlerFunc{
		"says nothing":           silence,
		"drips":                  drip,
		"a megabyte":             respond("application/json", yes+`,"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		"2 megabytes, packed":    packed(yes + `,"x":"` + strings.Repeat("x", 2<<20) + `"}`),
		"a header of a megabyte": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"a page":                 respond("text/html", yes+"}"),
		"no content type":        respond("", yes+"}"),
		"half an answer":         respond("application/json", yes),
		"twice":                  respond("application/json", yes+"}"+yes+"}"),
		"nothing":                respond("application/json", ""),
		"hangs up":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in a circle": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
	}
	for _, status := range []int{204, 206, 304, 400, 404, 429, 500, 502, 503} {
		all[fmt.Sprint("says ", status)] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if status >= 400 || status == http.StatusPartialContent {
				io.WriteString(w, yes+"}")
			}
		}
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		all[fmt.Sprintf("redirects by %d", status)] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, status) }
	}
	return all
}

func respond(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		io.WriteString(w, body)
	}
}

// silence reads the request, without which the server does not see that whoever asks has left.
func silence(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// drip sends a byte from time to time, without end.
func drip(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.Context().Err() == nil {
		io.WriteString(w, " ")
		w.(http.Flusher).Flush()
		<-tick.C
	}
}

func packed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, body)
		z.Close()
	}
}
