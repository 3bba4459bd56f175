package picture_test

import (
	"bytes"
	"fmt"
	"image/png"
	"log"

	"github.com/convae/convae/trainer/picture"
)

// Draws two rows of images with labels.
func ExampleSheet() {
	dark := picture.Image{H: 2, W: 2, C: 1, Pix: []float32{0, 0, 0.1, 0.2}}
	rows := []picture.Row{{Label: "original", Images: []picture.Image{dark, dark}}, {Label: "reconstructed", Images: []picture.Image{dark, dark}}}
	var file bytes.Buffer
	if err := png.Encode(&file, picture.Sheet(rows, picture.SheetOptions{Title: "Dark squares"})); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", file.Bytes()[1:4])
	// Output: "PNG"
}

// Draws the losses of two runs on a logarithmic axis.
func ExampleLossCurve() {
	epochs := []float64{1, 2, 3}
	curves := []picture.Curve{{Name: "dense32", X: epochs, Y: []float64{0.2, 0.12, 0.1}}, {Name: "deep32", X: epochs, Y: []float64{0.3, 0.15, 0.09}}}
	var file bytes.Buffer
	if err := picture.LossCurve(&file, curves, picture.CurveOptions{Title: "Validation loss", LogY: true}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", file.Bytes()[1:4])
	// Output: "PNG"
}
