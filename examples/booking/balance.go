package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/pgroute/pgroute/examples/booking/internal/balance"
	"github.com/pgroute/pgroute/examples/booking/internal/registry"
)

func runBalance(ctx context.Context, args []string, out, errs io.Writer, log *slog.Logger) error {
	flags := flag.NewFlagSet("booking balance", flag.ContinueOnError)
	at := flags.String("listen", "127.0.0.1:8000", "`HOST:PORT` where HTTP is served")
	servers := flags.String("zookeeper", "", "ZooKeeper's servers, `HOST:PORT,…`")
	path := flags.String("path", "/booking", "the `znode` of the service")
	if err := parse(flags, args, errs, "zookeeper"); err != nil {
		return err
	}
	listener, err := listen(ctx, *at)
	if err != nil {
		return err
	}
	defer listener.Close()
	reg, err := registry.New(*servers, *path, nil, log)
	if err != nil {
		return usage("%v", err)
	}
	followed := follow(ctx, reg, log)
	defer followed.stop()
	followed.wait(ctx, func(v *registry.View) bool { return v.Connected })
	fmt.Fprintf(out, "booking: ready on %s\n", listener.Addr())
	return serveHTTP(ctx, listener, balance.New(reg, log), log, func() {})
}
