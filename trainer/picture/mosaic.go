package picture

import "math"

// Mosaic joins images of one size into one, row by row of so many columns, with
// a gap of so many pixels between them. The gaps, and places that no image is
// left for, are NaN. It panics if there is no image or they differ in size.
func Mosaic(images []Image, columns, gap int) Image {
	first := images[0]
	rows := (len(images) + columns - 1) / columns
	m := Image{H: rows*(first.H+gap) - gap, W: columns*(first.W+gap) - gap, C: first.C}
	m.Pix = make([]float32, m.H*m.W*m.C)
	for i := range m.Pix {
		m.Pix[i] = float32(math.NaN())
	}
	for i, img := range images {
		img.check()
		if img.H != first.H || img.W != first.W || img.C != first.C {
			panic("picture: images of a mosaic differ in size")
		}
		top, left := i/columns*(img.H+gap), i%columns*(img.W+gap)
		for y := range img.H {
			copy(m.Pix[((top+y)*m.W+left)*m.C:], img.Pix[y*img.W*img.C:][:img.W*img.C])
		}
	}
	return m
}

// Grid lays images out in rows of so many columns.
func Grid(images []Image, columns int) []Row {
	var rows []Row
	for len(images) > 0 {
		n := min(columns, len(images))
		rows = append(rows, Row{Images: images[:n]})
		images = images[n:]
	}
	return rows
}
