package trainer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
var startFiles = []string{ConfigFile, historyCSV, historyJSON, checkpointDir, boardDir}

// newFolder makes a folder that did not exist: dir or, if that is taken, dir-2, dir-3 and so on. Of several processes each
// gets its own.
func newFolder(dir string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return "", fmt.Errorf("run folder: %w", err)
	}
	name := dir
	for i := 2; ; i++ {
		err := os.Mkdir(name, 0o777)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("run folder: %w", err)
		}
		name = fmt.Sprintf("%s-%d", dir, i)
	}
}

// checkEmpty reports a folder that another run, or something else, is in, so that nothing is overwritten. With again it may
// hold a run that ended before its first checkpoint. What others leave in a folder by themselves does not count.
func checkEmpty(dir string, again bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	started, foreign := false, ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lockFile || atomicfile.IsTemp(name) || stray(e):
		case slices.Contains(startFiles, name):
			started = true
		case foreign == "":
			foreign = name
		}
	}
	saved, err := checkpoints(dir)
	switch {
	case err != nil:
		return err
	case len(saved) > 0:
		return fmt.Errorf("run folder %s is not empty: choose another, or go on with --resume %s", dir, dir)
	case foreign != "":
		return fmt.Errorf("run folder %s is not empty: it has %s and no checkpoint to go on from: choose another", dir, foreign)
	case started && !again:
		return fmt.Errorf("run folder %s is not empty: it has a run that ended before its first checkpoint: start it again with --out %s --continue, or choose another", dir, dir)
	}
	return nil
}

// stray tells a file that a file manager, a network file system or a log of this very run leaves in a folder.
func stray(e os.DirEntry) bool {
	switch name := strings.ToLower(e.Name()); {
	case e.IsDir():
		return name == "lost+found"
	case name == ".ds_store" || name == "thumbs.db" || name == "desktop.ini" || name == ".directory" || name == ".gitkeep":
		return true
	case strings.HasPrefix(name, ".nfs") || strings.HasPrefix(name, "._"):
		return true
	default:
		return strings.HasPrefix(name, "log") || slices.Contains([]string{".log", ".out", ".err"}, filepath.Ext(name))
	}
}
