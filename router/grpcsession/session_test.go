package grpcsession_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/grpcsession"
	"github.com/pgroute/pgroute/router/internal/fakeprimary"
)

// patient are options for tests in which a token is always to be had.
var patient = grpcsession.Options{Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}

// service is a service that does what a test says. It is gRPC's own health
// service, which has a unary call and a stream.
type service struct {
	health.UnimplementedHealthServer
	check func(context.Context) error
	watch func(health.Health_WatchServer) error
}

func (s *service) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	return &health.HealthCheckResponse{}, s.check(ctx)
}

func (s *service) Watch(_ *health.HealthCheckRequest, stream health.Health_WatchServer) error {
	return s.watch(stream)
}

// collect is a call by which the client sends messages.
var collect = grpc.StreamDesc{StreamName: "Collect", ClientStreams: true}

// serve starts a server and returns a client of it, both with interceptors.
func serve(t *testing.T, p *fakeprimary.Primary, opts grpcsession.Options, s *service) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.UnaryInterceptor(grpcsession.UnaryServer(p.Router, opts)),
		grpc.StreamInterceptor(grpcsession.StreamServer(p.Router, opts)))
	health.RegisterHealthServer(srv, s)
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: collect.StreamName, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			for stream.RecvMsg(new(health.HealthCheckRequest)) == nil {
			}
			if err := s.check(stream.Context()); err != nil {
				return err
			}
			return stream.SendMsg(&health.HealthCheckResponse{})
		},
	}}}, s)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcsession.UnaryClient(p.Router, opts)),
		grpc.WithStreamInterceptor(grpcsession.StreamClient(p.Router, opts)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-ended; err != nil {
			t.Errorf("end the server: %v", err)
		}
	})
	return conn
}

// write is what a call does that writes to the database.
func write(ctx context.Context, p *fakeprimary.Primary) {
	p.Advance()
	router.SessionFrom(ctx).Wrote(p.Router)
}

// covered checks that metadata holds one token that covers a position.
func covered(t *testing.T, md metadata.MD, pos lsn.Position) {
	t.Helper()
	tokens := md.Get(grpcsession.Key)
	if len(tokens) != 1 {
		t.Fatalf("there are %d tokens, want one: %v", len(tokens), md)
	}
	got, err := lsn.ParseToken(tokens[0])
	if err != nil {
		t.Fatalf("the token %q: %v", tokens[0], err)
	}
	if got.SystemID != pos.SystemID || got.LSN < pos.LSN {
		t.Errorf("the token is at %v, want at least %v", got, pos)
	}
}

func none(t *testing.T, md metadata.MD) {
	t.Helper()
	if tokens := md.Get(grpcsession.Key); len(tokens) != 0 {
		t.Errorf("there are tokens: %q", tokens)
	}
}

func TestKeyIsTheRouters(t *testing.T) {
	if grpcsession.Key != strings.ToLower(router.TokenKey) {
		t.Errorf("%s is not the key that Inject uses", grpcsession.Key)
	}
}

func TestUnaryWriteGivesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	s := &service{}
	client := health.NewHealthClient(serve(t, p, patient, s))
	for name, fail := range map[string]error{"answer": nil, "error": status.Error(codes.Aborted, "half done")} {
		t.Run(name, func(t *testing.T) {
			var header, trailer metadata.MD
			s.check = func(ctx context.Context) error { write(ctx, p); return fail }
			_, err := client.Check(t.Context(), &health.HealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
			if status.Code(err) != status.Code(fail) {
				t.Fatal(err)
			}
			covered(t, trailer, p.Position())
			none(t, header)
			s.check = func(context.Context) error { return fail }
			_, err = client.Check(t.Context(), &health.HealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
			if status.Code(err) != status.Code(fail) {
				t.Fatal(err)
			}
			none(t, header)
			none(t, trailer)
		})
	}
}

func TestEveryCallGivesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	p.Advance()
	opts := patient
	opts.EveryCall = true
	s := &service{check: func(context.Context) error { return nil }, watch: func(health.Health_WatchServer) error { return nil }}
	client := health.NewHealthClient(serve(t, p, opts, s))
	var trailer metadata.MD
	if _, err := client.Check(t.Context(), &health.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	covered(t, trailer, p.Position())
	stream, err := client.Watch(t.Context(), &health.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	covered(t, stream.Trailer(), p.Position())
}

// TestStreamWriteGivesToken: what was written before the first message is told
// in the header, what comes later in the trailer.
func TestStreamWriteGivesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	s := &service{}
	client := health.NewHealthClient(serve(t, p, patient, s))
	for name, test := range map[string]struct {
		before, after   bool
		header, trailer bool
	}{
		"nothing": {},
		"before":  {before: true, header: true},
		"after":   {after: true, trailer: true},
		"both":    {before: true, after: true, header: true, trailer: true},
	} {
		t.Run(name, func(t *testing.T) {
			var early lsn.Position
			s.watch = func(stream health.Health_WatchServer) error {
				if test.before {
					write(stream.Context(), p)
				}
				early = p.Position()
				if err := stream.Send(&health.HealthCheckResponse{}); err != nil {
					return err
				}
				if test.after {
					write(stream.Context(), p)
				}
				return nil
			}
			stream, err := client.Watch(t.Context(), &health.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != io.EOF {
				t.Fatalf("the stream ended with %v", err)
			}
			header, err := stream.Header()
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				md   metadata.MD
				want bool
				pos  lsn.Position
			}{{header, test.header, early}, {stream.Trailer(), test.trailer, p.Position()}} {
				if part.want {
					covered(t, part.md, part.pos)
				} else {
					none(t, part.md)
				}
			}
		})
	}
}

func TestSentHeaderCarriesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	s := &service{watch: func(stream health.Health_WatchServer) error {
		write(stream.Context(), p)
		return stream.SendHeader(metadata.Pairs("own", "kept"))
	}}
	stream, err := health.NewHealthClient(serve(t, p, patient, s)).Watch(t.Context(), &health.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	header, err := stream.Header()
	if err != nil {
		t.Fatal(err)
	}
	covered(t, header, p.Position())
	if got := header.Get("own"); len(got) != 1 || got[0] != "kept" {
		t.Errorf("the service's own header became %q", got)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	p := fakeprimary.Start(t)
	foreign, future, unknown := p.Position(), p.Position(), p.Position()
	foreign.SystemID++
	future.LSN += 1 << 40
	unknown.Timeline += 5
	ran := func() error { t.Error("the call ran"); return nil }
	opts := patient
	opts.Timeout = 100 * time.Millisecond // the unknown timeline may yet become known
	client := health.NewHealthClient(serve(t, p, opts, &service{
		check: func(context.Context) error { return ran() },
		watch: func(health.Health_WatchServer) error { return ran() },
	}))
	for name, token := range map[string]string{
		"malformed": "nonsense",
		"foreign":   lsn.EncodeToken(foreign),
		"future":    lsn.EncodeToken(future),
		"timeline":  lsn.EncodeToken(unknown),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), grpcsession.Key, token)
			if _, err := client.Check(ctx, &health.HealthCheckRequest{}); status.Code(err) != codes.InvalidArgument {
				t.Errorf("%v, want InvalidArgument", err)
			}
			stream, err := client.Watch(ctx, &health.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("stream: %v, want InvalidArgument", err)
			}
		})
	}
}

// TestClientCarriesSession: the caller's session goes to the called service,
// and what that wrote counts for the caller.
func TestClientCarriesSession(t *testing.T) {
	p := fakeprimary.Start(t)
	writes := false
	brought := make(chan []string, 1)
	call := func(ctx context.Context) error {
		brought <- metadata.ValueFromIncomingContext(ctx, grpcsession.Key)
		if writes {
			write(ctx, p)
		}
		return nil
	}
	conn := serve(t, p, patient, &service{check: call, watch: func(stream health.Health_WatchServer) error { return call(stream.Context()) }})
	client := health.NewHealthClient(conn)
	for name, do := range map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := client.Check(ctx, &health.HealthCheckRequest{})
			return err
		},
		"from the server": func(ctx context.Context) error {
			stream, err := client.Watch(ctx, &health.HealthCheckRequest{})
			if err != nil {
				return err
			}
			if _, err := stream.Recv(); err != io.EOF {
				return err
			}
			return nil
		},
		"from the client": func(ctx context.Context) error {
			stream, err := conn.NewStream(ctx, &collect, "/test/Collect")
			if err != nil {
				return err
			}
			if err := stream.SendMsg(&health.HealthCheckRequest{}); err != nil {
				return err
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			return stream.RecvMsg(new(health.HealthCheckResponse))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, writes = range []bool{false, true} {
				s := router.NewSession()
				p.Advance()
				if err := do(router.WithSession(t.Context(), s)); err != nil {
					t.Fatal(err)
				}
				before := p.Position()
				if writes {
					before.LSN -= 100
				}
				covered(t, metadata.MD{grpcsession.Key: <-brought}, before)
				if wrote := s.Ticket() != 0; wrote != writes {
					t.Errorf("the service wrote: %v, and the caller's session thinks: %v", writes, wrote)
				}
			}
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := <-brought; len(got) != 0 {
				t.Errorf("a call without a session brings %q", got)
			}
			own := metadata.AppendToOutgoingContext(router.WithSession(t.Context(), router.NewSession()), grpcsession.Key, grpcsession.Now)
			if err := do(own); err != nil {
				t.Fatal(err)
			}
			if got := <-brought; len(got) != 1 || got[0] != grpcsession.Now {
				t.Errorf("the caller's own metadata became %q", got)
			}
		})
	}
}

// TestNoTokenToBeHad: the primary is silent. Both sides say now, and whoever
// receives it starts from now.
func TestNoTokenToBeHad(t *testing.T) {
	p := fakeprimary.Start(t)
	untold := 0
	opts := patient
	opts.Timeout = -1 // nothing is waited for
	opts.Trace.Untold = func(context.Context, error) { untold++ }
	started := make(chan uint64, 1)
	client := health.NewHealthClient(serve(t, p, opts, &service{check: func(ctx context.Context) error {
		started <- router.SessionFrom(ctx).Ticket()
		return nil
	}}))
	p.Mute()
	s := router.NewSession()
	s.Wrote(p.Router)
	var trailer metadata.MD
	if _, err := client.Check(router.WithSession(t.Context(), s), &health.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if <-started == 0 {
		t.Error("the called service does not start from now")
	}
	if got := trailer.Get(grpcsession.Key); len(got) != 1 || got[0] != grpcsession.Now || untold != 2 {
		t.Errorf("the answer holds %q, told %d times; want now, and once for each side", got, untold)
	}
}
