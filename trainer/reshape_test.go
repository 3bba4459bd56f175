package trainer

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn/device"
)

// The decoder may end in a reshape after its sigmoid, as those of Keras's tutorials do.
func TestReshapeAfterSigmoid(t *testing.T) {
	c, err := DecodeConfig(strings.NewReader(`
model: {name: m, input: [28, 28, 1], encoder: [{flatten: {}}, {dense: {units: 2}}], decoder: [{dense: {units: 784, activation: sigmoid}}, {reshape: {shape: [28, 28, 1]}}]}
data: {name: digits, limit: 20}
training: {loss: bce, epochs: 1, batch: 10}
`))
	if err != nil {
		t.Fatal(err)
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	train, validation, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Train(t.Context(), c, Options{Dir: filepath.Join(t.TempDir(), "run"), Device: dev, Train: train, Test: validation})
	if err != nil || len(r.History) != 1 || !(r.History[0].ValBCE > 0) {
		t.Errorf("%+v, %v", r.History, err)
	}
}
