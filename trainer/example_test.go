package trainer_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
)

// check ends an example that went wrong.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Trains the preset spiral for 400 epochs and measures the saved model.
func ExampleTrain() {
	c, err := trainer.Preset("spiral", trainer.Set("training.epochs=400"), trainer.Set("training.validation_freq=200"))
	check(err)
	train, validation, err := trainer.LoadData(context.Background(), &c.Data, nil)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	run := filepath.Join(dir, "run")
	r, err := trainer.Train(context.Background(), c, trainer.Options{Dir: run, Device: dev, Train: train, Test: validation})
	check(err)
	model, _, err := trainer.LoadModel(run)
	check(err)
	fmt.Println(len(r.History), "validations, the last of epoch", r.History[1].Epoch)
	fmt.Println("the loss falls:", r.History[1].Loss < r.History[0].Loss)
	fmt.Println("a code of", model.Code.Len(), "for", model.Input.Len(), "values")
	// Output:
	// 2 validations, the last of epoch 400
	// the loss falls: true
	// a code of 1 for 2 values
}

// Reads a table, scaled to [0,1] by its first three rows, and the last row scaled alike.
func ExampleLoadData() {
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "table.csv")
	check(os.WriteFile(file, []byte("height,weight\n150,50\n170,70\n190,60\n200,80\n"), 0o666))
	d := trainer.Data{Name: "csv", File: file, Scaling: "minmax", Validation: 0.25}
	train, validation, err := trainer.LoadData(context.Background(), &d, nil)
	check(err)
	fmt.Println(train.Values, validation.Values)
	fmt.Println(d.Scaler.Offset, d.Scaler.Scale)
	// Output:
	// [0 0 0.5 1 1 0.5] [1.25 1.5]
	// [150 50] [40 20]
}

// Settings change any value of a configuration; a misspelt key is an error that says what there is.
func ExampleSet() {
	c, err := trainer.Preset("dense32", trainer.Set("model.encoder.1.dense.units=16"), trainer.Set("training.optimizer={name: sgd}"))
	check(err)
	fmt.Println(c.Model.Encoder[0].Layer.(*layer.Dense).Units, c.Training.Optimizer.Name)
	_, err = trainer.Preset("dense32", trainer.Set("data.limits=5"))
	fmt.Println(err)
	// Output:
	// 16 sgd
	// setting "data.limits=5": data has no "limits", perhaps limit; it has name, dir, file, test_file, seed, samples, noise, columns, label, no_header, scaling, scaler, size, channels, resize, filter, stream, cache, augment, skip_unreadable, only, classes, limit, validation_limit, validation
}
