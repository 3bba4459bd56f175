package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// predictedTimes are the microseconds of a table that profile --machine has printed, by op and layer. Launches that run side by
// side count as they take alone, as they do when ops are timed one by one.
type predictedTimes map[[2]string]float64

// readPredicted reads the table of a model's step at a batch.
func readPredicted(path, model string, batch int) (predictedTimes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--predicted: %w", err)
	}
	title, table, _ := strings.Cut(string(text), "\n\n")
	if want := fmt.Sprintf("%s, batch %d: ", model, batch); !strings.HasPrefix(title, want) {
		return nil, fmt.Errorf("--predicted: %s is not of %s at batch %d: it begins with %.60q", path, model, batch, title)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	header, rows, _ := strings.Cut(table, "\n")
	end := strings.Index(header, " us ") + len(" us")
	times := predictedTimes{}
	for row := range strings.Lines(rows) {
		fields := strings.Fields(row[:min(end, len(row))])
		us, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil || len(fields) < 3 {
			return nil, fmt.Errorf("--predicted: %s: no time in the row %q", path, strings.TrimSpace(row))
		}
		if op, layer := fields[0], fields[1]; op != "-" { // what comes before the first op
			times[[2]string{op, layer}] += us
		}
	}
	return times, nil
}

// take returns the time of an op, which is the rows' own from then on.
func (t predictedTimes) take(op, layer string) float64 {
	key := [2]string{op, layer}
	us := t[key]
	delete(t, key)
	return us
}

// leftOver returns an error if there are times that no op has taken.
func (t predictedTimes) leftOver() error {
	for key := range t {
		return fmt.Errorf("--predicted: the step has no %s of %s: on this device it is of other ops than on the machine of the table", key[0], key[1])
	}
	return nil
}
