package sass

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrNoTools says that NVIDIA's assembler and disassembler are not at hand.
var ErrNoTools = errors.New("sass: ptxas and nvdisasm are not in the PATH, in $CUDA/bin or in .cache/cuda/bin: scripts/get_cuda.sh .cache/cuda fetches them")

// Tools are the paths of NVIDIA's programs.
type Tools struct{ ptxas, nvdisasm string }

// FindTools looks for both programs in the PATH, in $CUDA/bin, and in .cache/cuda/bin of the working folder and the folders
// above it. The error is ErrNoTools.
func FindTools() (Tools, error) {
	folders := filepath.SplitList(os.Getenv("PATH"))
	if cuda := os.Getenv("CUDA"); cuda != "" {
		folders = append(folders, filepath.Join(cuda, "bin"))
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			folders = append(folders, filepath.Join(dir, ".cache", "cuda", "bin"))
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	find := func(name string) string {
		for _, f := range folders {
			p := filepath.Join(f, name)
			if i, err := os.Stat(p); err == nil && !i.IsDir() && i.Mode()&0o111 != 0 {
				return p
			}
		}
		return ""
	}
	t := Tools{find("ptxas"), find("nvdisasm")}
	if t.ptxas == "" || t.nvdisasm == "" {
		return t, ErrNoTools
	}
	return t, nil
}

// Compile makes machine code for sm_90 of PTX and decodes it. It returns the kernels by name. An instruction that this package
// does not know is an error only when the kernel is run.
func (t Tools) Compile(ptx string) (ks map[string]*Kernel, err error) {
	target := "sm_90"
	if strings.Contains(ptx, ".target sm_90a") {
		target += "a"
	}
	err = t.assemble(ptx, target, func(log, cubin string) error {
		text, err := exec.Command(t.nvdisasm, "-hex", cubin).Output()
		if err != nil {
			return fmt.Errorf("sass: nvdisasm: %w", err)
		}
		if ks, err = parse(string(text)); err != nil {
			return err
		}
		if err := paramsOf(ptx, ks); err != nil {
			return err
		}
		return resources(log, ks)
	})
	return ks, err
}

// Spills returns the bytes a thread that the kernels of PTX store to memory for want of registers, and load again, on a target
// such as "sm_75".
func (t Tools) Spills(ptx, target string) (bytes int, err error) {
	err = t.assemble(ptx, target, func(log, _ string) error {
		found := false
		for line := range strings.Lines(log) {
			if n, ok := spills(line); ok {
				bytes, found = bytes+n, true
			}
		}
		if !found {
			return fmt.Errorf("sass: ptxas does not say what is spilled")
		}
		return nil
	})
	return bytes, err
}

// assemble makes machine code of PTX for a target, and gives use what ptxas says of it and the file that it is in.
func (t Tools) assemble(ptx, target string, use func(log, cubin string) error) error {
	dir, err := os.MkdirTemp("", "sass")
	if err != nil {
		return fmt.Errorf("sass: a folder for the machine code: %w", err)
	}
	defer os.RemoveAll(dir)
	in, cubin := filepath.Join(dir, "k.ptx"), filepath.Join(dir, "k.cubin")
	if err := os.WriteFile(in, []byte(ptx), 0o600); err != nil {
		return fmt.Errorf("sass: writing PTX: %w", err)
	}
	log, err := exec.Command(t.ptxas, "-v", "-arch="+target, in, "-o", cubin).CombinedOutput()
	if err != nil {
		return fmt.Errorf("sass: ptxas: %w: %s", err, strings.TrimSpace(string(log)))
	}
	return use(string(log), cubin)
}

var (
	compiling = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	used      = regexp.MustCompile(`Used (\d+) registers`)
	smem      = regexp.MustCompile(`(\d+) bytes smem`)
	spilled   = regexp.MustCompile(`(\d+) bytes spill stores, (\d+) bytes spill loads`)
)

// spills returns the bytes of spilling in a line of ptxas's log, if it has them.
func spills(line string) (bytes int, ok bool) {
	m := spilled.FindStringSubmatch(line)
	if m == nil {
		return 0, false
	}
	stores, _ := strconv.Atoi(m[1])
	loads, _ := strconv.Atoi(m[2])
	return stores + loads, true
}

// resources reads from ptxas's log what each kernel takes.
func resources(log string, ks map[string]*Kernel) error {
	var k *Kernel
	for line := range strings.Lines(log) {
		if m := compiling.FindStringSubmatch(line); m != nil {
			k = ks[m[1]]
			continue
		}
		if n, ok := spills(line); ok && k != nil {
			k.Spills = n
			continue
		}
		m := used.FindStringSubmatch(line)
		if m == nil || k == nil {
			continue
		}
		k.Registers, _ = strconv.Atoi(m[1])
		if m := smem.FindStringSubmatch(line); m != nil {
			k.Shared, _ = strconv.Atoi(m[1])
		}
	}
	for name, k := range ks {
		if k.Registers == 0 {
			return fmt.Errorf("sass: ptxas does not say how many registers %s takes", name)
		}
	}
	return nil
}
