package driver

import "fmt"

// Error is a failure that the CUDA driver reports.
type Error struct {
	Call   string // function of the driver, such as "cuMemAlloc"
	Code   int    // its CUresult
	Name   string // the driver's name of it, such as "CUDA_ERROR_OUT_OF_MEMORY"; may be empty
	Text   string // the driver's words; may be empty
	Advice string // what a person can do; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: ", e.Call)
	switch {
	case e.Name == "":
		s += fmt.Sprintf("the driver returned %d", e.Code)
	case e.Text == "":
		s += e.Name
	default:
		s += fmt.Sprintf("%s (%s)", e.Text, e.Name)
	}
	if e.Advice != "" {
		s += ": " + e.Advice
	}
	return s
}
