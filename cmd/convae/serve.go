package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/convae/convae/trainer/live"
)

// serveFlags say where a page is served, and to whom.
type serveFlags struct{ address, tokenFile string }

const addressHelp = "address, :PORT or HOST:PORT: this machine's alone unless there is a token (--token-file or $" + live.TokenVariable + ")"

func (f *serveFlags) addToken(fs *pflag.FlagSet) {
	fs.StringVar(&f.tokenFile, "token-file", "", "file with the token of the live page, at least 16 characters; the default is $"+live.TokenVariable)
}

// page is a live page that listens.
type page struct {
	*live.Server
	listener net.Listener
	token    string
	done     chan error
	stop     context.CancelFunc
}

// listen listens; what is served may be said later.
func (f *serveFlags) listen() (*page, error) {
	token, err := live.ReadToken(f.tokenFile)
	if err != nil {
		return nil, err
	}
	l, err := live.Listen(f.address, token)
	if err != nil {
		return nil, err
	}
	return &page{listener: l, token: token}, nil
}

// serve answers requests until close.
func (p *page) serve(o live.Options) (err error) {
	o.Token, o.Loopback, o.Version = p.token, live.IsLoopback(p.listener.Addr()), versionText()
	if p.Server, err = live.New(o); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.done = stop, make(chan error, 1)
	go func() { p.done <- p.Serve(ctx, p.listener) }()
	return nil
}

// close ends requests that are under way, and listening.
func (p *page) close() error {
	if p.done == nil {
		return p.listener.Close()
	}
	p.stop()
	return <-p.done
}

// url is where a browser finds the page. With the secret it has what pausing and stopping takes, if that was made for this process.
func (p *page) url(secret bool) string {
	host, port, _ := net.SplitHostPort(p.listener.Addr().String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.Equal(net.IPv4(127, 0, 0, 1)) {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port) + "/"
	if secret && p.token == "" {
		url += "#token=" + p.Control()
	}
	return url
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve [RUN...]",
		Short: "Show runs in a browser",
		Long: `Show runs in a browser, beside each other, also while other processes train them: losses, speed, samples and codes by epoch, logs and
configurations. Without a RUN these are all in ` + runsDir + `/, also such as are begun later. convae train --serve :8080 shows the run that it trains.

Metrics for Prometheus are at /metrics. docs/live.md tells more.`,
		Args:        cobra.ArbitraryArgs,
		Annotations: map[string]string{savesState: "true"}, // it lets requests end
		RunE:        func(c *cobra.Command, args []string) error { return f.run(c.Context(), args, c.ErrOrStderr()) },
	}
	fs := c.Flags()
	fs.StringVar(&f.address, "listen", ":8080", addressHelp)
	f.addToken(fs)
	return c
}

func (f *serveFlags) run(ctx context.Context, runs []string, errs io.Writer) error {
	p, err := f.listen()
	if err != nil {
		return err
	}
	o := live.Options{Runs: runs}
	if len(runs) == 0 {
		o.Within = filepath.Clean(runsDir)
	}
	if err := p.serve(o); err != nil {
		p.listener.Close()
		return err
	}
	if _, err := fmt.Fprintf(errs, "serving at %s until Ctrl-C\n", p.url(false)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return p.close()
	case err := <-p.done:
		return err
	}
}
