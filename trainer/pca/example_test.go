package pca_test

import (
	"context"
	"fmt"
	"log"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/pca"
)

// check ends an example that went wrong.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Reduces the drawn digits to codes of 32 numbers and back.
func Example() {
	digits := dataset.Digits(600, 1)
	train, test := digits.Slice(0, 500), digits.Slice(500, 600)
	p, err := pca.Fit(context.Background(), train, 32)
	check(err)
	image, code := make([]float32, 784), make([]float32, 32)
	check(test.Read(image, 0, 1))
	p.Encode(code, image)
	p.Decode(image, code)
	v, err := p.Evaluate(context.Background(), test)
	check(err)
	fmt.Printf("%d numbers of 784, MSE below 0.03: %v\n", len(code), v.MSE < 0.03)
	// Output: 32 numbers of 784, MSE below 0.03: true
}
