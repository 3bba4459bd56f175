//go:build !unix

package dataset

import "fmt"

func newMapped(_ string, size int) (store, error) {
	return nil, fmt.Errorf("pixels are %d bytes, want at most %d on this system: choose a smaller size", size, imagesInMemory)
}
