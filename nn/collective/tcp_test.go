package collective_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/nn/collective/collectivetest"
)

// freePort returns an address of this machine at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// overTCP connects so many ranks.
func overTCP(t *testing.T, size int, timeout time.Duration) []collective.Comm {
	t.Helper()
	address := freePort(t)
	ranks := make([]collective.Comm, size)
	var all sync.WaitGroup
	for i := range ranks {
		all.Go(func() {
			var err error
			if ranks[i], err = (collective.TCP{Rank: i, Size: size, Address: address, Token: "t", Timeout: timeout}).Connect(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return ranks
}

// together calls f for each rank and returns their errors.
func together(ranks []collective.Comm, f func(c collective.Comm) error) []error {
	errs := make([]error, len(ranks))
	var all sync.WaitGroup
	for i, c := range ranks {
		all.Go(func() { errs[i] = f(c) })
	}
	all.Wait()
	return errs
}

func TestCalls(t *testing.T) {
	for _, c := range []struct {
		name  string
		ranks func() []collective.Comm
	}{
		{"memory", func() (all []collective.Comm) {
			for _, m := range collectivetest.Ranks(3) {
				all = append(all, m)
			}
			return all
		}},
		{"tcp", func() []collective.Comm { return overTCP(t, 3, time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			long := bytes.Repeat([]byte("0123456789abcdef"), 5<<20) // 80 MiB: more than a message
			for rank, err := range together(c.ranks(), func(c collective.Comm) error { return calls(c, long) }) {
				if err != nil {
					t.Errorf("rank %d: %v", rank, err)
				}
			}
		})
	}
}

// calls makes calls of each kind and looks at what they return.
func calls(c collective.Comm, long []byte) error {
	mine := bytes.Repeat([]byte{byte(c.Rank())}, c.Rank()) // rank 0 gives nothing
	for range 3 {
		got, err := c.Broadcast([]byte(fmt.Sprintf("of rank %d", c.Rank())))
		if err != nil || string(got) != "of rank 0" {
			return fmt.Errorf("broadcast is %q, error %w", got, err)
		}
		all, err := c.AllGather(mine)
		if err != nil || len(all) != 3 || len(all[0]) != 0 || string(all[1]) != "\x01" || string(all[2]) != "\x02\x02" {
			return fmt.Errorf("all-gather is %q, error %w", all, err)
		}
	}
	for i, want := range []bool{false, false, true, false, true} { // of the call before; rank 2 sets its flag in the second, and all in the fourth
		got, err := c.Signal(i == 1 && c.Rank() == 2 || i == 3)
		if err != nil || got != want {
			return fmt.Errorf("signal %d is %v, error %w", i, got, err)
		}
		if _, err := c.AllGather(nil); err != nil { // between a signal and its answer
			return err
		}
	}
	if c.Rank() > 0 {
		long = nil
	}
	got, err := c.Broadcast(long)
	if err != nil || len(got) != 80<<20 || got[len(got)-1] != 'f' {
		return fmt.Errorf("broadcast of %d bytes, error %w", len(got), err)
	}
	if err := collective.Check(c, nil); err != nil {
		return err
	}
	var fault error
	if c.Rank() == 1 {
		fault = errors.New("no room")
	}
	if err := collective.Check(c, fault); err == nil || err.Error() != "rank 1: no room" || !collective.Known(err) || collective.Told(err) != (c.Rank() == 2) {
		return fmt.Errorf("check: %w", err)
	}
	if err := collective.Check(c, errors.New("alike")); collective.Told(err) != (c.Rank() > 0) {
		return fmt.Errorf("check of one error on all: %w", err)
	}
	return c.Close()
}

// An error of a rank, a rank that has gone, and one that does not answer end the calls of all, with an error that names it.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		fail    func(c collective.Comm)
		want    string
	}{
		{"abort", time.Minute, func(c collective.Comm) { c.Abort(errors.New("the disk is full")) }, "rank 2: the disk is full"},
		{"silence", 300 * time.Millisecond, func(c collective.Comm) { time.Sleep(2 * time.Second) }, "it has waited 300ms for rank 2 (all-gather)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ranks := overTCP(t, 3, c.timeout)
			errs := together(ranks, func(comm collective.Comm) error {
				if comm.Rank() == 2 {
					c.fail(comm)
					return nil
				}
				_, err := comm.AllGather(nil)
				_, again := comm.Signal(false)
				if again == nil {
					return errors.New("a call after one that failed")
				}
				return err
			})
			for rank, err := range errs[:2] {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("rank %d: error %v, want %q", rank, err, c.want)
				}
			}
			for _, comm := range ranks {
				comm.Abort(errors.New("end"))
			}
		})
	}
}

// Who does not know the token, has another world, or comes twice is turned away, and the others still find each other.
func TestStrangers(t *testing.T) {
	address := freePort(t)
	at := collective.TCP{Size: 2, Address: address, Token: "secret", Timeout: 20 * time.Second}
	var first sync.WaitGroup
	first.Go(func() {
		c, err := at.Connect(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		change func(*collective.TCP)
		want   string
	}{
		{func(o *collective.TCP) { o.Token = "guess" }, "the token is another"},
		{func(o *collective.TCP) { o.Size = 3 }, "has a world of 3 ranks, rank 0 of 2"},
		{func(o *collective.TCP) { o.Rank = 2 }, "rank is 2, want 1 to 1"},
	} {
		o := at
		o.Rank = 1
		c.change(&o)
		if _, err := o.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	stranger, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Write([]byte("GET / HTTP/1.1\r\n\r\n" + strings.Repeat(" ", 100))); err != nil {
		t.Fatal(err)
	}
	stranger.Close()
	at.Rank = 1
	c, err := at.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	first.Wait()
}

func TestNobodyComes(t *testing.T) {
	address := freePort(t)
	o := collective.TCP{Size: 3, Address: address, Timeout: 200 * time.Millisecond}
	if _, err := o.Connect(context.Background()); err == nil || !strings.Contains(err.Error(), "rank 0 has waited 200ms for ranks 1 2 at port") {
		t.Errorf("rank 0: error %v", err)
	}
	o.Rank = 1
	if _, err := o.Connect(context.Background()); err == nil || !strings.Contains(err.Error(), "rank 1 has waited 200ms for rank 0 at "+address+": context deadline exceeded (") {
		t.Errorf("rank 1: error %v", err)
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		launcher, env string
		want          collective.Launched
		err           string
	}{
		{"", "", collective.Launched{By: "none", Size: 1}, ""},
		{"none", "WORLD_SIZE=4 RANK=1", collective.Launched{By: "none", Size: 1}, ""},
		{"auto", "SLURM_NTASKS=8 SLURM_PROCID=0", collective.Launched{By: "none", Size: 1}, ""}, // a shell in an allocation
		{"", "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1", collective.Launched{By: "mpi", Rank: 1, Size: 4, Local: 1}, ""},
		{"", "PMI_RANK=3 PMI_SIZE=4 MPI_LOCALRANKID=0", collective.Launched{By: "mpi", Rank: 3, Size: 4}, ""},
		{"mpi", "PMIX_RANK=2 SLURM_NTASKS=8 SLURM_LOCALID=2", collective.Launched{By: "mpi", Rank: 2, Size: 8, Local: 2}, ""},
		{"", "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 MASTER_ADDR=node0 MASTER_PORT=1234", collective.Launched{By: "env", Rank: 5, Size: 8, Local: 1, Address: "node0:1234"}, ""},
		{"env", "JOB_COMPLETION_INDEX=1 WORLD_SIZE=2 MASTER_ADDR=fe80::1 CONVAE_TOKEN=x", collective.Launched{By: "env", Rank: 1, Size: 2, Address: "[fe80::1]:29500", Token: "x"}, ""},
		{"", "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5 TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=run", collective.Launched{By: "env", Size: 2, Address: "a:6", Token: "run"}, ""},
		{"", "WORLD_SIZE=1", collective.Launched{}, "RANK is not"},
		{"", "WORLD_SIZE=2 RANK=0", collective.Launched{}, "MASTER_ADDR is not set"},
		{"", "WORLD_SIZE=2 RANK=2 MASTER_ADDR=a", collective.Launched{}, "rank 2 of 2 ranks"},
		{"", "WORLD_SIZE=two RANK=0", collective.Launched{}, `WORLD_SIZE is "two", want a number from 1`},
		{"", "WORLD_SIZE=2 RANK=0 MASTER_ADDR=a MASTER_PORT=99999", collective.Launched{}, `MASTER_PORT is "99999", want a number from 1 to 65535`},
		{"mpi", "", collective.Launched{}, "none of mpirun's and srun's variables is set"},
		{"env", "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4", collective.Launched{}, "WORLD_SIZE is not set"},
		{"slurm", "", collective.Launched{}, `launcher is "slurm", want auto, none, mpi or env`},
	} {
		lookup := func(name string) (string, bool) {
			for _, pair := range strings.Fields(c.env) {
				if key, value, _ := strings.Cut(pair, "="); key == name {
					return value, true
				}
			}
			return "", false
		}
		got, err := collective.Options{Launcher: c.launcher, Lookup: lookup}.Detect()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s %s: error %v, want %q", c.launcher, c.env, err, c.err)
			}
		case err != nil || got != c.want:
			t.Errorf("%s %s: %+v, error %v, want %+v", c.launcher, c.env, got, err, c.want)
		}
	}
}
