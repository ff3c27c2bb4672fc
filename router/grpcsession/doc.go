// Package grpcsession carries a session from one gRPC call to the next, by a
// token in the metadata: what a client has written by one call is seen by its
// next one, whichever instance of the service and whichever replica serves it.
// It is a module of its own, so that nobody else depends on gRPC.
//
// # The server
//
// [UnaryServer] and [StreamServer] give each call a session of its own in its
// context, where package pgxdb finds it, raised by the tokens under the key
// pgroute-token ([Key]) of the call's metadata:
//
//	grpc.NewServer(
//		grpc.ChainUnaryInterceptor(grpcsession.UnaryServer(db.Router(), grpcsession.Options{})),
//		grpc.ChainStreamInterceptor(grpcsession.StreamServer(db.Router(), grpcsession.Options{})),
//	)
//
// If the call wrote something, its trailer carries a token that covers it, also
// if it ended with an error. A stream that wrote before its first message has
// the token in its header as well, so that the other side need not wait for the
// end; what it writes later is in the trailer. A stream that lives long can send
// what [router.Router.Token] returns in messages of its own.
//
// A token that is malformed, from another cluster or ahead of the primary ends
// the call with InvalidArgument. A token of a timeline that this router does
// not know (yet: after a failover the news takes a moment) is refused after
// [Options].Timeout only.
//
// # The client
//
// [UnaryClient] and [StreamClient] send a token of the context's session along
// and take back that of the answer, so that the caller's session sees what the
// called service did:
//
//	grpc.NewClient(target,
//		grpc.WithChainUnaryInterceptor(grpcsession.UnaryClient(r, grpcsession.Options{})),
//		grpc.WithChainStreamInterceptor(grpcsession.StreamClient(r, grpcsession.Options{})),
//	)
//
// A call whose context has no session ([router.WithSession]), or whose metadata
// has the key already, goes out as it is. A client without a router, such as
// one in another language, keeps the last token that it saw and sends it with
// its next call; in Go that is metadata.AppendToOutgoingContext.
//
// # When there is no token to be had
//
// If the primary does not answer in time, the metadata carries the word now
// ([Now]) in place of a token: whoever receives it starts from now, which
// covers everything that the token would have covered. The same holds for a
// token that cannot be checked in time.
package grpcsession
