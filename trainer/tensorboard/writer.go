// Package tensorboard writes event files, which TensorBoard shows. A file is of records (TFRecord: a length, its checksum, the bytes and theirs) of one
// message each, of which eventpb has the fields.
package tensorboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/trainer/tensorboard/eventpb"
)

// fileVersion is that of files in which the start of a session, and no step that goes back, has TensorBoard forget later steps.
const fileVersion = "brain.Event:2"

const filePrefix = "events.out.tfevents."

// Writer appends events to a file. It is not safe for concurrent use.
type Writer struct {
	f   *os.File
	buf []byte
}

// Create makes an event file, and the folder dir for it unless it is there. Where dir has event files of before, the new one comes behind them by its
// name, and TensorBoard forgets what they say of step first and later. Errors name the file.
func Create(dir string, first int) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	at := time.Now().Unix()
	files, err := Files(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), filePrefix), ".")
		if before, err := strconv.ParseInt(text, 10, 64); err == nil {
			at = max(at, before+1) // files are read in the order of their names
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s%010d.%s.%d.0", filePrefix, at, host, os.Getpid())), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	w := &Writer{f: f}
	if err = w.write(0, &eventpb.Event{What: &eventpb.Event_FileVersion{FileVersion: fileVersion}}); err == nil {
		err = w.write(first, &eventpb.Event{What: &eventpb.Event_SessionLog{SessionLog: &eventpb.SessionLog{Status: eventpb.SessionLog_START}}})
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// Files lists the event files in a folder by their names, which is their order: none if there is no such folder.
func Files(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filePrefix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// Path returns the file's.
func (w *Writer) Path() string { return w.f.Name() }

// Add writes values of a step.
func (w *Writer) Add(step int, values ...Value) error {
	s := &eventpb.Summary{}
	for _, v := range values {
		s.Value = append(s.Value, v.v)
	}
	return w.write(step, &eventpb.Event{What: &eventpb.Event_Summary{Summary: s}})
}

// AddGraph writes the graph of a model.
func (w *Writer) AddGraph(g Graph) error {
	text, err := proto.Marshal(g.def)
	if err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return w.write(0, &eventpb.Event{What: &eventpb.Event_GraphDef{GraphDef: text}})
}

// write appends a record, by one call of the system, so that one who reads meanwhile finds few that are cut off.
func (w *Writer) write(step int, e *eventpb.Event) (err error) {
	e.Step, e.WallTime = int64(step), float64(time.Now().UnixMicro())/1e6
	const head = 12
	w.buf = append(w.buf[:0], make([]byte, head)...)
	if w.buf, err = (proto.MarshalOptions{}).MarshalAppend(w.buf, e); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	binary.LittleEndian.PutUint64(w.buf, uint64(len(w.buf)-head))
	binary.LittleEndian.PutUint32(w.buf[8:], masked(w.buf[:8]))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, masked(w.buf[head:]))
	if _, err := w.f.Write(w.buf); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error {
	if err := w.f.Close(); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of a record's part: CRC-32C, rotated and shifted, so that a checksum of bytes with a checksum in them is no worse.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
