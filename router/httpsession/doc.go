// Package httpsession carries a session from one HTTP request to the next, by
// a token in a cookie or a header: what an end user has written in one request
// is seen by the user's next one, whichever instance of the service and
// whichever replica serves it.
//
// # The problem
//
// A user books a seat. The instance that took the booking wrote it on the
// primary; the next request of the same user goes to another instance, which
// reads from a replica that has not replayed the booking yet: the seat looks
// free. Neither instance did anything wrong. What is missing is that the
// second knows what the first has promised.
//
// # The middleware
//
// [New] wraps a handler:
//
//	mux := http.NewServeMux()
//	...
//	http.ListenAndServe(addr, httpsession.New(db.Router(), httpsession.Options{})(mux))
//
// Each request gets a session of its own in its context
// ([router.SessionFrom]). Package pgxdb finds it there: the handler passes
// r.Context() to its queries and needs to know nothing else. The session
// begins at the tokens that the request brings, so reads see at least what the
// tokens stand for.
//
// If the handler wrote something, the response carries a token that covers it,
// in the header Pgroute-Token and in the cookie pgroute_token. A browser sends
// the cookie back by itself; another program, or a script, copies the header.
// With [Options].EveryResponse each response carries a token, so that two
// requests one after the other never go backwards even if they only read.
//
// The token is made when the headers leave: at the first Write, WriteHeader
// (other than 1xx), Flush, ReadFrom or Hijack, or when the handler returns or
// panics. This is the moment to have written everything: commit first, answer
// then. The primary has normally been asked already, right after the write, so
// there is little to wait for.
//
// A session that begins at no token begins at nothing: the first request of a
// user may be served by any replica that the level allows. A session is one
// causal chain. Requests that a browser sends at the same time each have one,
// and the cookie of the answer that arrives last stays: a script that writes
// twice at the same time should wait for both answers before it reads, or keep
// the tokens of both and send them in the header, separated by a comma.
//
// # When there is no token to be had
//
// The primary has acknowledged a write and then fallen silent, so that its
// position cannot be asked. A response without a token would silently break
// the promise, and so would the old one. So after [Options].Timeout the
// response carries the word now ([Now]) in place of a token: the request that
// brings it back starts from now, which covers the write. It costs that
// request a wait for the primary's position, and nothing else. The same holds
// for a token that cannot be checked in time: the session starts from now.
//
// # Bad tokens
//
// A token is hostile input: it is compared with a position of the primary that
// was asked for after it arrived. One that is malformed, from another cluster
// or ahead of the primary is refused if it came in the header: status 400, or
// what [Options].ErrorHandler makes of it. A token in a cookie is nothing a
// user can be asked to mend: the session starts from now, and the response
// replaces the cookie. A token of a timeline that this router does not know (yet:
// after a failover the news takes a moment) is refused after Timeout only.
//
// A token is not a secret and proves nothing: it is a position in the
// write-ahead log. The worst that one can do with somebody else's is to read
// data that is fresher than needed.
//
// # Caches
//
// What carries a token must not be stored for others. If the handler set no
// Cache-Control, the response says private; Vary names what the token came
// in. A script of another origin sees the header only if the service exposes
// it (Access-Control-Expose-Headers: Pgroute-Token).
//
// # Writing after the headers
//
// A handler that writes to the database after its headers have left is late.
// The token is then sent as a trailer if HTTP allows one, which another
// service's [Transport] reads and browsers ignore; and it is logged once. A
// connection that was hijacked (a WebSocket) is the handler's own: it keeps
// its session, and can send what [router.Router.Token] returns in messages of
// its own.
//
// # Between services
//
// [Transport] is the other side: a service that calls another one sends the
// token of its context's session along, and takes back that of the answer.
// The services need not share a language: Pgroute-Token is what
// SHOW pgroute.token and SET pgroute.token of the proxy speak.
package httpsession
