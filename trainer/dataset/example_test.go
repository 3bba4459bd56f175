package dataset_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/convae/convae/trainer/dataset"
)

// check ends an example that went wrong.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// The data of the tutorial whose run the tests reproduce.
func ExampleSpiral() {
	s := dataset.Spiral(500, 0.3, 42)
	fmt.Printf("%d points, the first at (%.4f, %.4f)\n", s.Len(), s.Values[0], s.Values[1])
	// Output:
	// 500 points, the first at (0.3995, 0.7008)
}

// Takes two columns of a table, and its classes from a third.
func ExampleReadCSV() {
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "iris.csv")
	check(os.WriteFile(file, []byte("sepal,petal,species\n5.1,1.4,setosa\n6.3,6.0,virginica\n"), 0o666))
	t, err := dataset.ReadCSV(file, dataset.CSVOptions{Columns: []string{"petal", "sepal"}, Label: "species"})
	check(err)
	fmt.Println(t.Columns, t.Values, t.Labels)
	// Output:
	// [petal sepal] [1.4 5.1 6 6.3] [0 1]
}

// Reads the pictures in folders, which are the classes, as grey images of 4 x 4 pixels.
func ExampleReadImages() {
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	for _, class := range []string{"cat", "dog"} {
		check(os.Mkdir(filepath.Join(dir, class), 0o777))
		f, err := os.Create(filepath.Join(dir, class, "1.png"))
		check(err)
		check(png.Encode(f, image.NewGray(image.Rect(0, 0, 30, 20))))
		check(f.Close())
	}
	s, err := dataset.ReadImages(context.Background(), dir, dataset.ImageOptions{H: 4, W: 4, C: 1})
	check(err)
	defer s.Close()
	fmt.Println(s.Len(), "images of", s.Size(), "pixels, labels", s.Labels)
	// Output: 2 images of 16 pixels, labels [0 1]
}

// Writes drawn digits as MNIST's files are, and reads them back.
func ExampleLoadIDXDir() {
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	for name, set := range map[string]*dataset.Set{"train": dataset.Digits(20, 1), "t10k": dataset.Digits(10, 2)} {
		images, err := os.Create(filepath.Join(dir, name+"-images-idx3-ubyte"))
		check(err)
		check(errors.Join(dataset.WriteIDXImages(images, set), images.Close()))
		labels, err := os.Create(filepath.Join(dir, name+"-labels-idx1-ubyte"))
		check(err)
		check(errors.Join(dataset.WriteIDXLabels(labels, set.Labels), labels.Close()))
	}
	train, test, err := dataset.LoadIDXDir(dir, "mine")
	check(err)
	fmt.Println(train.Len(), "and", test.Len(), "images of", train.H, "x", train.W, "pixels")
	// Output: 20 and 10 images of 28 x 28 pixels
}

// Takes the ones and sevens alone.
func ExampleSet_Only() {
	s, err := dataset.Digits(100, 1).Only([]int{1, 7})
	check(err)
	fmt.Println(s.Len(), "of 100 digits")
	// Output: 20 of 100 digits
}

// Writes codes as a table.
func ExampleWriteCSV() {
	check(dataset.WriteCSV(os.Stdout, []string{"code1", "code2"}, []float32{0.5, -1, 2, 0.25}, dataset.TextColumn{Name: "label", Rows: []string{"7", "fox"}}))
	// Output:
	// code1,code2,label
	// 0.5,-1,7
	// 2,0.25,fox
}

// Scales the columns of a table to [0, 1], and back.
func ExampleFitScaler() {
	s, err := dataset.FitScaler("minmax", []float64{150, 50, 190, 80}, 2)
	check(err)
	scaled := dataset.ApplyScaler(s, []float64{170, 65})
	fmt.Println(scaled, s.Undo(scaled))
	// Output: [0.5 0.5] [170 65]
}
