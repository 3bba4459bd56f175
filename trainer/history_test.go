package trainer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/use"
)

func TestReadHistory(t *testing.T) {
	dir := t.TempDir()
	for _, epochs := range [][]Epoch{nil, {{Epoch: 2, Loss: 0.5, ValLoss: 0.25, ValKL: 3}, {Epoch: 4, Loss: 0.125, Seconds: 1.5}}} {
		if err := writeHistory(dir, epochs); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadHistory(dir); err != nil || !slices.Equal(got, epochs) {
			t.Errorf("read %v, want %v; %v", got, epochs, err)
		}
	}
	path := filepath.Join(dir, historyJSON)
	if err := os.WriteFile(path, []byte(`[{"epoch": "two"}]`), 0o666); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{dir: "is not a list of epochs as training writes it", filepath.Join(dir, "nowhere"): "no such file"} {
		if _, err := ReadHistory(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, historyJSON)) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestEvaluationLoss(t *testing.T) {
	e := use.Evaluation{Output: metric.Values{BCE: 0.5, MSE: 0.25}}
	for _, c := range []struct {
		tr   Training
		want float64
	}{{Training{Loss: nn.BCE}, 0.5}, {Training{Loss: nn.MSE}, 0.25}, {Training{Loss: nn.MSE, Reduction: "sample"}, 2}} {
		if got := c.tr.LossOf(e, 8); got != c.want {
			t.Errorf("%s %s: loss %v, want %v", c.tr.Loss, c.tr.Reduction, got, c.want)
		}
	}
	if got := (Training{Loss: nn.Loss{BCE: 2, MSE: 4}, Reduction: "sample"}).LossOf(e, 8); got != 16 {
		t.Errorf("loss of a sum %v, want 16", got)
	}
	e.Drawn = use.Evidence{BCE: 80, MSE: 16, Divergence: 3}
	tr := Training{Loss: nn.BCE, Reduction: "sample"}
	tr.Divergence.Beta = nn.Given(2)
	if got := tr.LossOf(e, 8); got != 86 {
		t.Errorf("variational loss %v, want 86", got)
	}
}
