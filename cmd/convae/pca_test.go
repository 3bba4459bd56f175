package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/metric"
)

func TestPCA(t *testing.T) {
	t.Chdir(t.TempDir())
	// Points on a plane of three dimensions, off the origin: two components keep all, one keeps the first axis.
	rows := "a,b,c\n"
	for i := range 10 {
		x := float64(2*(i%2) - 1)      // variance 1
		y := float64(2*(i/2%2)-1) / 10 // about 0.01
		rows += fmt.Sprintf("%v,%v,7\n", 3+x, 5+y)
	}
	write(t, []byte(rows), "rows.csv")
	c := trainer.Config{Model: nn.Config{Name: "two", Input: []int{3}, Encoder: graph.Specs(&layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 3})},
		Data: trainer.Data{Name: "csv", File: "rows.csv"}}
	c.Training.Loss, c.Training.Noise.Std = nn.MSE, 0.5
	saveRun(t, "runs/two", c)
	read := func(args ...string) (v struct {
		Code, Components int
		Explained        float64
		Autoencoder, PCA metric.Values
	}) {
		if err := json.Unmarshal([]byte(mustRun(t, pcaCommand(), append(args, "--json")...)), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := read(); v.Code != 2 || v.Components != 2 || v.PCA.N != 10 || v.PCA.MSE > 1e-9 || math.Abs(v.Explained-1) > 1e-9 || v.Autoencoder.MSE < 1 {
		t.Errorf("as large as the code: %+v", v)
	}
	// The smaller axis has values 0.1 with 4 samples of 10, -0.1 with 6: variance 0.0096, of three values.
	if v := read("--components", "1"); v.Components != 1 || v.PCA.MSE > 0.0096/3+1e-6 || v.PCA.MSE < 0.0095/3 || v.Explained > 0.991 {
		t.Errorf("one component: %+v", v)
	}
	var clean struct{ Output metric.Values }
	if err := json.Unmarshal([]byte(mustRun(t, evalCommand(), "--noise", "0", "--json")), &clean); err != nil || clean.Output.MSE != read().Autoencoder.MSE {
		t.Errorf("eval has MSE %v, pca %v; %v", clean.Output.MSE, read().Autoencoder.MSE, err)
	}
	out := mustRun(t, pcaCommand(), "runs/two")
	if !strings.Contains(out, "PCA                   2    0.00000\n") || !strings.Contains(out, "autoencoder           2 ") || !strings.Contains(out, "keeps 100.0% of the variance of its 10 training samples") {
		t.Errorf("printed\n%s", out)
	}
	wantError(t, "--components is 4, want 1 to 3", pcaCommand(), "--components", "4")
	wantError(t, "--components is 0, want 1 to 3", pcaCommand(), "--components", "0")
	c.Model.Encoder = graph.Specs(&layer.Dense{Units: 5})
	saveRun(t, "wide", c)
	wantError(t, `the code of model "two" has 5 numbers, its samples only 3: want --components 1 to 3`, pcaCommand(), "wide")
	write(t, []byte("a,b,c\n1,2,3\n"), "rows.csv")
	wantError(t, "pca: 2 components of 1 samples of 3 values, want 1 to 1", pcaCommand())
	write(t, []byte("a,b\n1,2\n3,4\n"), "rows.csv")
	wantError(t, "data set csv has samples of 2 values; model \"two\" takes (3,)", pcaCommand())
	t.Chdir(t.TempDir())
	wantError(t, "there is no model in runs/", pcaCommand())
}
