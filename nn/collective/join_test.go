package collective

import (
	"strings"
	"testing"
)

// A process that mpirun started as one of two is not alone, whatever MPI says.
func TestAgrees(t *testing.T) {
	c := &tcpComm{o: TCP{Rank: 0, Size: 1}}
	if err := (Launched{Rank: 0, Size: 1}).agrees(c); err != nil {
		t.Error(err)
	}
	const want = "rank 1 of 2, but is rank 0 of 1 to MPI"
	if err := (Launched{Rank: 1, Size: 2}).agrees(c); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
