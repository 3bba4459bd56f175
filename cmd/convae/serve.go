package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/live"
	"github.com/convae/convae/trainer/service"
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
	o.Token, o.Loopback, o.Version = p.token, live.IsLoopback(p.listener.Addr()), buildText()
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

// modelServer are the flags of serve.
type modelServer struct {
	serveFlags
	device  string
	noModel bool
	o       service.Options
}

func serveCommand() *cobra.Command {
	var f modelServer
	c := &cobra.Command{
		Use:   "serve [RUN...]",
		Short: "Show runs in a browser, and have a model answer requests",
		Long: `Show runs in a browser, beside each other, also while other processes train them: losses, speed, samples and codes by epoch, logs and
configurations. Without a RUN these are all in ` + runsDir + `/, also such as are begun later. convae train --serve :8080 shows the run that it trains.

The model of one RUN also answers POST /v1/denoise, /v1/reconstruct and /v1/encode: PNG, JPEG, JSON arrays or .npy in, the same or what
Accept says out. Requests that come together are run together.

Metrics for Prometheus are at /metrics. docs/live.md tells more.`,
		Args:        cobra.ArbitraryArgs,
		Annotations: map[string]string{savesState: "true"}, // it lets requests end
		RunE:        func(c *cobra.Command, args []string) error { return f.run(c.Context(), args, c.ErrOrStderr()) },
	}
	fs := c.Flags()
	fs.StringVar(&f.address, "listen", ":8080", addressHelp)
	f.addToken(fs)
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.BoolVar(&f.noModel, "no-model", false, "only show runs")
	fs.IntVar(&f.o.Batch, "max-batch", 64, "samples of several requests that are run together at the most")
	within(fs, "max-batch", 1, 65536)
	fs.DurationVar(&f.o.Wait, "max-wait", 5*time.Millisecond, "longest wait of a request for others to be run together with")
	fs.IntVar(&f.o.Queue, "max-requests", 128, "requests to the model that are answered at a time; one more gets the status 429")
	within(fs, "max-requests", 1, 65536)
	fs.Int64Var(&f.o.Body, "max-body", 16<<20, "bytes of a request; a larger one gets the status 413")
	within(fs, "max-body", 1024, 1<<30)
	return c
}

func (f *modelServer) run(ctx context.Context, runs []string, errs io.Writer) error {
	if f.o.Wait <= 0 || f.o.Wait > time.Minute {
		return fmt.Errorf("--max-wait is %v, want more than 0 and at most 1m, as 5ms", f.o.Wait)
	}
	p, err := f.listen()
	if err != nil {
		return err
	}
	o := live.Options{Runs: runs}
	switch {
	case len(runs) == 0:
		o.Within = filepath.Clean(runsDir)
	case len(runs) == 1 && !f.noModel:
		o.Runs = shownOf(runs[0])
	}
	model, about, closeModel, err := f.model(runs)
	if err == nil {
		defer closeModel()
		if model != nil {
			o.Model = model
		}
		err = p.serve(o)
	}
	if err != nil {
		p.listener.Close()
		return err
	}
	if model != nil {
		model.Register(p.Registerer())
	}
	if _, err := fmt.Fprintf(errs, "serving at %s until Ctrl-C%s\n", p.url(false), about); err != nil {
		return errors.Join(err, p.close())
	}
	select {
	case <-ctx.Done():
		err := p.close()
		if errors.Is(err, live.ErrCut) { // as is said of the end; it is no failure
			_, err = fmt.Fprintln(errs, err)
		}
		return err
	case err := <-p.done:
		return err
	}
}

// shownOf returns the runs that are shown beside a model: a model that is a file may lie in its run's folder, or alone.
func shownOf(path string) []string {
	regular := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().IsRegular()
	}
	switch dir, name := filepath.Split(path); {
	case !regular(path):
		return []string{path}
	case name == trainer.ModelFile && regular(filepath.Join(dir, trainer.ConfigFile)):
		return []string{filepath.Clean(dir)}
	default:
		return nil
	}
}

// model places the model of a run on a device, if there is one run and it has a model.
func (f *modelServer) model(runs []string) (s *service.Service, about string, closeModel func(), err error) {
	if f.noModel || len(runs) != 1 {
		return nil, "", func() {}, nil
	}
	if _, err := os.Stat(filepath.Join(runs[0], trainer.ModelFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, "; the run has no model yet: start this again for /v1/", func() {}, nil
	}
	m, c, err := trainer.LoadModel(runs[0])
	if err != nil {
		return nil, "", nil, err
	}
	dev, _, err := openDevice(f.device)
	if err != nil {
		return nil, "", nil, err
	}
	if s, err = service.New(m, c.Data, dev, f.o); err != nil {
		return nil, "", nil, errors.Join(err, dev.Close())
	}
	return s, "; its model answers at /v1/denoise, /v1/reconstruct and /v1/encode, on " + dev.Name(), func() { s.Close(); dev.Close() }, nil
}
