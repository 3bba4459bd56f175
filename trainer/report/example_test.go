package report_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/report"
)

// Trains a model of points on a circle and draws what it has learnt.
func ExampleMake() {
	ctx := context.Background()
	c, err := trainer.Preset("circle", trainer.Set("training.epochs=20"), trainer.Set("training.validation_freq=10"))
	if err != nil {
		log.Fatal(err)
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	train, test, err := trainer.LoadData(ctx, &c.Data, nil)
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "circle")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := trainer.Train(ctx, c, trainer.Options{Dir: dir, Device: dev, Train: train, Test: test}); err != nil {
		log.Fatal(err)
	}
	r, err := report.Make(ctx, dir, report.Options{Device: dev})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(r.HTML))
	for _, path := range r.Pictures {
		fmt.Println(filepath.Base(path))
	}
	// Output:
	// report.html
	// analysis.png
	// latent.png
	// loss.png
}
