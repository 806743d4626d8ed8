// Package claimpool is the dictionary of the proxy: the few words that every other package shares (Identity, Claims,
// Method, Error with its SQLSTATE, the log keys). It knows nothing else.
//
// The walk of a client, from its first byte to the release of a server:
//
//	0   accept, number it, set the deadline                    proxy
//	1   PROXY header, TLS, StartupMessage (or CancelRequest)   startup
//	2   choose the rule, throttle                              auth
//	3   run the exchange                                       auth with wire and scram
//	4   verify the credential                                  token, with keys from keyset
//	5   make the Identity                                      auth
//	6   AuthenticationOk … ReadyForQuery; move into a loop      proxy with wire
//	7   first message of a transaction; identity still valid?  proxy
//	8   lease a server                                         pool, opened by server
//	9   hand it over if it last served somebody else           trusted, sent by proxy
//	10  relay until the transaction is over                    relay
//	11  release: keep it, or close it with a reason            pool
//
// Steps 0 to 6 run in a goroutine of their own in plain blocking code. After that the connection belongs to an event
// loop (package loop), and an idle client costs neither a goroutine nor a buffer.
package claimpool
