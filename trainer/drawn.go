package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/pca"
	"github.com/convae/convae/trainer/use"
)

// Folders of what is drawn of validated epochs, in files of their numbers such as samples/0003.png and latent/0003.json.
const (
	samplesDir = "samples"
	latentDir  = "latent"
)

// drawnKept bounds how many validated epochs have files: of more, every second one has them, then every fourth, and so on. The first and the last
// always do.
const drawnKept = 100

const (
	latentSamples = 256     // at the most
	latentLeast   = 32      // fewer say too little
	latentValues  = 1 << 22 // of their inputs, and of their codes
)

// Latent are the codes of a few validation samples after an epoch, as points: a code of one or two numbers as it is, any other along its first two
// principal components, turned so that the points lie as near as they can to those of the epoch before.
type Latent struct {
	Epoch   int       `json:"epoch"`
	Samples []int     `json:"samples"`          // their numbers in the validation set
	Labels  []int     `json:"labels,omitempty"` // of each; absent if the set has none
	Classes []string  `json:"classes,omitempty"`
	X       []float64 `json:"x"`
	Y       []float64 `json:"y,omitempty"` // absent for codes of one number
	// Share is the part of the codes' variance that lies along the two components; 0 for codes that are shown as they are.
	Share float64 `json:"share,omitempty"`
}

// SamplesPath is the file with what the model of a run made of some validation images after an epoch.
func SamplesPath(run string, epoch int) string {
	return filepath.Join(run, samplesDir, fmt.Sprintf("%04d.png", epoch))
}

// LatentPath is the file with a [Latent].
func LatentPath(run string, epoch int) string {
	return filepath.Join(run, latentDir, fmt.Sprintf("%04d.json", epoch))
}

// ReadLatent reads the codes of an epoch.
func ReadLatent(run string, epoch int) (*Latent, error) {
	path := LatentPath(run, epoch)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("latent: %w", err)
	}
	l := new(Latent)
	if err := json.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("latent: %s: %w", path, err)
	}
	return l, nil
}

// DrawnEpochs returns the epochs of which a run has pictures of samples, and codes, in order.
func DrawnEpochs(run string) (samples, latent []int, err error) {
	if samples, err = drawnIn(filepath.Join(run, samplesDir), ".png"); err == nil {
		latent, err = drawnIn(filepath.Join(run, latentDir), ".json")
	}
	return samples, latent, err
}

func drawnIn(dir, ending string) (epochs []int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ending)
		if n, err := strconv.Atoi(name); ok && err == nil && n > 0 && fmt.Sprintf("%04d", n) == name {
			epochs = append(epochs, n)
		}
	}
	slices.Sort(epochs) // names of five digits come before those of four
	return epochs, nil
}

// show writes what is drawn of the epoch that was validated last, and removes what is not kept.
func (s *session) show() error {
	epoch := s.p.History[len(s.p.History)-1].Epoch
	d := Drawn{Epoch: epoch}
	if s.o.Test.Images() {
		d.Samples = SamplesPath(s.o.Dir, epoch)
		if err := os.MkdirAll(filepath.Dir(d.Samples), 0o777); err != nil {
			return fmt.Errorf("run folder: %w", err)
		}
		if err := writeSamples(d.Samples, s.net, s.o.Test, s.c.Training.Corrupted(), s.c.Training.Seed); err != nil {
			return err
		}
	}
	if err := s.board.samples(s.t.Steps(), d.Samples); err != nil {
		return err
	}
	if n := latentCount(s.m, s.o.Test); n > 0 {
		d.Latent = LatentPath(s.o.Dir, epoch)
		if err := os.MkdirAll(filepath.Dir(d.Latent), 0o777); err != nil {
			return fmt.Errorf("run folder: %w", err)
		}
		if err := s.writeLatent(d.Latent, epoch, n); err != nil {
			return err
		}
	}
	if err := s.thin(); err != nil {
		return err
	}
	s.o.Observer.Drawn(d)
	return nil
}

// thin removes the files of epochs that are not to have any, such as those after the checkpoint that a run goes on from.
func (s *session) thin() error {
	samples, latent, err := DrawnEpochs(s.o.Dir)
	if err != nil {
		return err
	}
	keep := keptEpochs(s.p.History)
	for _, dir := range []struct {
		epochs []int
		path   func(run string, epoch int) string
	}{{samples, SamplesPath}, {latent, LatentPath}} {
		for _, epoch := range dir.epochs {
			if keep[epoch] {
				continue
			}
			if err := os.Remove(dir.path(s.o.Dir, epoch)); err != nil {
				return fmt.Errorf("run folder: %w", err)
			}
		}
	}
	return nil
}

// keptEpochs returns the epochs of a history that have files.
func keptEpochs(history []Epoch) map[int]bool {
	stride := 1
	for len(history) > drawnKept*stride {
		stride *= 2
	}
	keep := map[int]bool{}
	for i, e := range history {
		if i%stride == 0 || i == len(history)-1 {
			keep[e.Epoch] = true
		}
	}
	return keep
}

// latentCount returns of how many validation samples the codes are kept: none where a few
// samples are large.
func latentCount(m *nn.Model, set *dataset.Set) int {
	samples := latentSamples
	if set != nil {
		samples = min(samples, set.Len())
	}
	n := min(samples, latentValues/max(m.Input.Len(), m.Code.Len()))
	if n < min(samples, latentLeast) || n < 2 {
		return 0
	}
	return n
}

// latentBytes is what finding the points takes.
func latentBytes(m *nn.Model, set *dataset.Set) int {
	n := latentCount(m, set)
	return 4*n*(2*m.Input.Len()+m.Code.Len()) + pca.ScoresBytes(n, m.Code.Len())
}

// writeLatent writes the codes of n validation samples, as the model is given them.
func (s *session) writeLatent(path string, epoch, n int) error {
	set, tr := s.o.Test, s.c.Training
	l := &Latent{Epoch: epoch, Samples: use.Spread(set, n)}
	n = len(l.Samples)
	if set.Labels != nil {
		for _, i := range l.Samples {
			l.Labels = append(l.Labels, int(set.Labels[i]))
		}
		l.Classes = set.Classes
	}
	size, width := set.Size(), s.m.Code.Len()
	clean, x, codes := make([]float32, size), make([]float32, n*size), make([]float32, n*width)
	for k, i := range l.Samples {
		if err := use.Corrupt(clean, x[k*size:][:size], set, i, i+1, tr.Corrupted(), rng.Source{Seed: tr.Seed, Stream: rng.StreamEvaluate}); err != nil {
			return err
		}
	}
	if err := s.net.Encode(codes, x, n); err != nil {
		return err
	}
	if err := l.project(codes, width); err != nil {
		return err
	}
	if l.Share > 0 {
		before := s.latent
		if before == nil {
			before = s.latentBefore(epoch)
		}
		l.turn(before)
	}
	l.round()
	s.latent = l
	return atomicfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(l) })
}

// latentBefore returns the points of the last epoch before one, or nil: those of a run that goes on.
func (s *session) latentBefore(epoch int) *Latent {
	_, epochs, err := DrawnEpochs(s.o.Dir)
	for i := len(epochs) - 1; i >= 0 && err == nil; i-- {
		if epochs[i] < epoch {
			l, _ := ReadLatent(s.o.Dir, epochs[i]) // a damaged file only means that points are not turned
			return l
		}
	}
	return nil
}

// project makes points of codes.
func (l *Latent) project(codes []float32, width int) (err error) {
	n := len(l.Samples)
	points := make([]float64, len(codes))
	for i, v := range codes {
		points[i] = float64(v)
	}
	if width > 2 {
		if points, l.Share, err = pca.Scores(codes, n, 2); err != nil {
			return err
		}
		width = 2
	}
	for i := range n {
		l.X = append(l.X, points[i*width])
		if width > 1 {
			l.Y = append(l.Y, points[i*width+1])
		}
	}
	return nil
}

// turn turns or mirrors the points, so that the sum of their squared distances from those of other codes of the same samples is least: principal
// components have arbitrary signs, and change places. It is the orthogonal Procrustes problem (Schönemann, 1966).
func (l *Latent) turn(to *Latent) {
	if to == nil || len(to.X) != len(l.X) || len(to.Y) != len(l.X) || len(l.Y) != len(l.X) {
		return
	}
	m := mat.NewDense(2, 2, nil)
	for i, k := range l.Samples {
		if to.Samples[i] != k {
			return
		}
		for r, a := range []float64{l.X[i], l.Y[i]} {
			for c, b := range []float64{to.X[i], to.Y[i]} {
				m.Set(r, c, m.At(r, c)+a*b)
			}
		}
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDFull) {
		return
	}
	var u, v, turn mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	turn.Mul(&u, v.T())
	for i := range l.X {
		x, y := l.X[i], l.Y[i]
		l.X[i], l.Y[i] = x*turn.At(0, 0)+y*turn.At(1, 0), x*turn.At(0, 1)+y*turn.At(1, 1)
	}
}

// round leaves five digits of the points, more than can be seen. What is turned later is so the same whether it was read from a file or not.
func (l *Latent) round() {
	share := []float64{l.Share}
	defer func() { l.Share = share[0] }()
	for _, values := range [][]float64{l.X, l.Y, share} {
		for i, v := range values {
			if v != 0 {
				unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-4)
				values[i] = math.Round(v/unit) * unit
			}
		}
	}
}
