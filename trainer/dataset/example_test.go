package dataset_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"convae/trainer/dataset"
)

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
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "iris.csv")
	if err := os.WriteFile(file, []byte("sepal,petal,species\n5.1,1.4,setosa\n6.3,6.0,virginica\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	t, err := dataset.ReadCSV(file, dataset.CSVOptions{Columns: []string{"petal", "sepal"}, Label: "species"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Columns, t.Values, t.Labels)
	// Output:
	// [petal sepal] [1.4 5.1 6 6.3] [0 1]
}
