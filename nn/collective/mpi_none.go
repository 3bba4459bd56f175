//go:build !mpi

package collective

import (
	"errors"
	"time"
)

var errNoMPI = errors.New("this convae is built without MPI: build it with `CC=mpicc go build -tags mpi ./cmd/convae` where Open MPI or MPICH is installed (Debian: libopenmpi-dev), or train in one process with --launcher none")

func joinMPI(time.Duration) (Mover, error) { return nil, errNoMPI }
