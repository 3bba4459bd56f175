package dataset

// Evenly returns n of the numbers below size, evenly from all.
func Evenly(size, n int) []int {
	picked := make([]int, n)
	for i := range picked {
		picked[i] = i * size / n
	}
	return picked
}
