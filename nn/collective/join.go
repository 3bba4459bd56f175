package collective

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// TokenVariable is the environment variable with the secret by which ranks know each other over TCP.
const TokenVariable = "CONVAE_TOKEN"

// Options say how processes find each other.
type Options struct {
	// Launcher is what started the processes. "mpi" is mpirun or srun, "env" is torchrun, a Kubernetes Job or a person, who set
	// RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, "none" is one process, and "auto", or "", goes by the environment.
	Launcher string
	Timeout  time.Duration // of a call that other ranks do not answer; 10 minutes if it is 0
	// Lookup is os.LookupEnv, or another in tests.
	Lookup func(name string) (string, bool)
}

// Launched is what the environment says of a process.
type Launched struct {
	By         string // "none", "mpi" or "env"
	Rank, Size int
	Local      int    // number of the process on its machine
	Address    string // of rank 0, of "env"
	Token      string
}

// mpiVariables are those by which mpirun (Open MPI, MPICH and its kin) and srun tell a process what it is: rank, size, and number on its machine.
var mpiVariables = [][3][]string{
	{{"OMPI_COMM_WORLD_RANK"}, {"OMPI_COMM_WORLD_SIZE"}, {"OMPI_COMM_WORLD_LOCAL_RANK"}},
	{{"PMI_RANK"}, {"PMI_SIZE"}, {"MPI_LOCALRANKID", "SLURM_LOCALID"}},
	{{"PMIX_RANK"}, {"SLURM_NTASKS", "SLURM_NPROCS"}, {"SLURM_LOCALID"}},
}

// Detect reads the environment.
func (o Options) Detect() (Launched, error) {
	e := environment(o.Lookup)
	if e == nil {
		e = os.LookupEnv
	}
	l := Launched{By: o.Launcher, Size: 1}
	byEnv, byMPI := e.has("WORLD_SIZE"), false
	for _, names := range mpiVariables {
		byMPI = byMPI || e.has(names[0]...) && e.has(names[1]...)
	}
	switch cmp.Or(o.Launcher, "auto") {
	case "none":
		return l, nil
	case "auto":
		switch {
		case byEnv:
			l.By = "env"
		case byMPI:
			l.By = "mpi"
		default:
			l.By = "none"
			return l, nil
		}
	case "mpi":
		if !byMPI {
			return l, errors.New("launcher is mpi, but none of mpirun's and srun's variables is set (as OMPI_COMM_WORLD_RANK, PMI_RANK, PMIX_RANK): start convae with mpirun or srun --mpi")
		}
	case "env":
		if !byEnv {
			return l, errors.New("launcher is env, but WORLD_SIZE is not set: want RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them")
		}
	default:
		return l, fmt.Errorf("launcher is %q, want auto, none, mpi or env", o.Launcher)
	}
	var err error
	if l.By == "mpi" {
		for _, names := range mpiVariables {
			if !e.has(names[0]...) || !e.has(names[1]...) {
				continue
			}
			if l.Rank, err = e.number(0, maxRanks-1, names[0]...); err != nil {
				return l, err
			}
			if l.Size, err = e.number(1, maxRanks, names[1]...); err != nil {
				return l, err
			}
			if e.has(names[2]...) {
				l.Local, err = e.number(0, maxRanks-1, names[2]...)
			}
			break
		}
	} else {
		err = l.read(e)
	}
	if err == nil && l.Rank >= l.Size {
		err = fmt.Errorf("rank %d of %d ranks: want a rank below that", l.Rank, l.Size)
	}
	if err == nil && l.Size > 1 && e.has("MASTER_ADDR") {
		err = l.address(e)
	}
	return l, err
}

// maxRanks bounds what a variable may say.
const maxRanks = 1 << 16

// read reads torchrun's variables, of which the rank may be the index of a Kubernetes Job's pod.
func (l *Launched) read(e environment) (err error) {
	if l.Size, err = e.number(1, maxRanks, "WORLD_SIZE"); err != nil {
		return err
	}
	rank := []string{"RANK"}
	if !e.has("RANK") {
		rank = []string{"JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"}
	}
	if !e.has(rank...) {
		return errors.New("WORLD_SIZE is set but RANK is not: want this process's number, from 0 on (JOB_COMPLETION_INDEX of a Kubernetes Job does as well)")
	}
	if l.Rank, err = e.number(0, maxRanks-1, rank...); err != nil {
		return err
	}
	if local := []string{"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}; e.has(local...) {
		if l.Local, err = e.number(0, maxRanks-1, local...); err != nil {
			return err
		}
	}
	if l.Size > 1 && !e.has("MASTER_ADDR") {
		return fmt.Errorf("WORLD_SIZE is %d but MASTER_ADDR is not set: want the name or the address of the machine with rank 0", l.Size)
	}
	return nil
}

// address reads where rank 0 is.
func (l *Launched) address(e environment) error {
	host, _ := e.get("MASTER_ADDR")
	port, err := 29500, error(nil) // torchrun's default
	if e.has("MASTER_PORT") {
		port, err = e.number(1, 65535, "MASTER_PORT")
	}
	if agent, _ := e.get("TORCHELASTIC_USE_AGENT_STORE"); agent == "True" {
		port++ // torchrun itself listens at that one
	}
	l.Address = net.JoinHostPort(host, strconv.Itoa(port))
	l.Token, _ = e.get(TokenVariable)
	if run, ok := e.get("TORCHELASTIC_RUN_ID"); ok && l.Token == "" {
		l.Token = run
	}
	return err
}

// environment is a lookup of variables.
type environment func(name string) (string, bool)

// get returns the first of the variables that is set and not empty.
func (e environment) get(names ...string) (value string, ok bool) {
	for _, name := range names {
		if value, ok = e(name); ok && value != "" {
			return value, true
		}
	}
	return "", false
}

func (e environment) has(names ...string) bool {
	_, ok := e.get(names...)
	return ok
}

// number reads the first of the variables that is set.
func (e environment) number(lo, hi int, names ...string) (int, error) {
	for _, name := range names {
		value, ok := e.get(name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < lo || n > hi {
			return 0, fmt.Errorf("%s is %q, want a number from %d to %d", name, value, lo, hi)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s is not set", names[0])
}

// Join connects this process with those that were started with it. It returns nil if it is alone.
func Join(ctx context.Context, o Options) (Comm, Launched, error) {
	l, err := o.Detect()
	if err != nil || l.Size == 1 {
		return nil, l, err
	}
	timeout := cmp.Or(o.Timeout, 10*time.Minute)
	if l.By == "mpi" {
		if m, err := joinMPI(timeout); err == nil {
			return m, l, l.agrees(m)
		} else if !errors.Is(err, errNoMPI) || l.Address == "" {
			return nil, l, err
		}
	}
	c, err := TCP{Rank: l.Rank, Size: l.Size, Address: l.Address, Token: l.Token, Timeout: timeout}.Connect(ctx)
	return c, l, err
}

// agrees returns an error if MPI's world is not that of the environment: under the mpirun of another MPI each process is a world of its own.
func (l Launched) agrees(c Comm) error {
	if c.Rank() == l.Rank && c.Size() == l.Size {
		return nil
	}
	return fmt.Errorf("this process was started as rank %d of %d, but is rank %d of %d to MPI: want the mpirun or srun of the MPI that convae is built with", l.Rank, l.Size, c.Rank(), c.Size())
}
