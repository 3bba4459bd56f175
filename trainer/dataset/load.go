package dataset

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Names returns the names of the data sets that [Load] knows.
func Names() []string {
	names := []string{"digits"}
	for _, s := range sources {
		names = append(names, s.Name)
	}
	return names
}

// Load returns the data set of that name, which must be one of [Names].
//
// The digits are drawn from the seed, see [DigitsSplit], and dir must be
// empty; calls in a row for one seed share memory, which must not be written
// to. The others, which have no use for the seed, are read from dir, see
// [LoadIDXDir]; if dir is empty, they are first downloaded to [CacheDir], with
// progress as in [Source.Fetch].
func Load(ctx context.Context, name, dir string, seed uint64, progress func(file string, done, total int64)) (train, test *Set, err error) {
	if name == "digits" {
		if dir != "" {
			return nil, nil, fmt.Errorf("dataset digits: data directory is %s, want none: the digits are drawn, not read", dir)
		}
		train, test = lastDigits.load(seed)
		return train, test, nil
	}
	for _, s := range sources {
		if s.Name != name {
			continue
		}
		if dir == "" {
			if dir, err = s.Fetch(ctx, "", progress); err != nil {
				return nil, nil, err
			}
		}
		return LoadIDXDir(dir, name)
	}
	return nil, nil, fmt.Errorf("no data set %q, want one of %s", name, strings.Join(Names(), ", "))
}

// lastDigits holds the digits that were loaded last, since drawing them takes
// a while.
var lastDigits digitsCache

type digitsCache struct {
	sync.Mutex
	seed        uint64
	train, test *Set
}

func (c *digitsCache) load(seed uint64) (train, test *Set) {
	c.Lock()
	defer c.Unlock()
	if c.train == nil || c.seed != seed {
		c.seed = seed
		c.train, c.test = DigitsSplit(seed)
	}
	return c.train.Slice(0, c.train.Len()), c.test.Slice(0, c.test.Len())
}
