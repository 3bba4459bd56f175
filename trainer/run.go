package trainer

import (
	"fmt"
	"os"
	"slices"

	"github.com/convae/convae/trainer/atomicfile"
)

// Files of a run's folder.
const (
	ConfigFile  = "config.yaml"
	ModelFile   = "model.safetensors"
	bestFile    = "best.safetensors" // weights of the best epoch so far
	SamplesFile = "samples.png"
	LossFile    = "loss.png"
)

// startFiles are in a run's folder before its first checkpoint.
var startFiles = []string{ConfigFile, historyCSV, historyJSON, checkpointDir}

// createRun makes the folder of a new run. One that exists must be empty, so that no earlier run is overwritten; with
// again it may also hold a run that ended before its first checkpoint.
func createRun(dir string, again bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	foreign := func(e os.DirEntry) bool {
		return !slices.Contains(startFiles, e.Name()) && !atomicfile.IsTemp(e.Name())
	}
	if len(entries) > 0 && (!again || slices.ContainsFunc(entries, foreign)) {
		return fmt.Errorf("run folder %s is not empty: choose another, or go on with --resume %s", dir, dir)
	}
	return nil
}
