package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// CSVOptions say what to take from a table.
type CSVOptions struct {
	// Columns are the columns to take, in this order, by name or by number from
	// 1; none stands for all but Label.
	Columns []string
	// Label is the column with the classes, by name or number; empty for none.
	Label string
	// OptionalLabel says that the table need not have that column.
	OptionalLabel bool
	// NoHeader says that the first row is not one of names.
	NoHeader bool
	// Classes are names that have labels already, in their order: those of
	// another part of the same data.
	Classes []string
}

// A Table holds rows of numbers.
type Table struct {
	Columns []string  // their names; numbers from 1 without a header
	Values  []float64 // row after row
	Labels  []uint8   // the class of each row; nil if there are none
	Classes []string  // names of the classes, by label; nil if they are but numbers
}

// ReadCSV reads the numeric table in the file at path, whose columns commas,
// semicolons or tabs separate. Classes that are not all integers of 0 to 255
// are numbered in the order of their names, numbers by size. The errors name
// the file and the place in it.
func ReadCSV(path string, o CSVOptions) (Table, error) {
	return readFile(path, func(r io.Reader) (Table, error) { return DecodeCSV(r, o) })
}

// DecodeCSV is [ReadCSV] of what comes from r. Errors name no file.
func DecodeCSV(r io.Reader, o CSVOptions) (Table, error) {
	rows, err := openCSV(r)
	if err != nil {
		return Table{}, err
	}
	first, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return Table{}, errors.New("is empty, want a table")
	}
	if err != nil {
		return Table{}, err
	}
	names := slices.Clone(first)
	if o.NoHeader {
		for i := range names {
			names[i] = strconv.Itoa(i + 1)
		}
	} else if !slices.ContainsFunc(first, func(s string) bool { return !isNumber(s) }) {
		return Table{}, errors.New("the first row has numbers only: if it is not one of names, say no_header: true")
	}
	columns, label, err := pickColumns(names, o)
	if err != nil {
		return Table{}, err
	}
	var t Table
	for _, c := range columns {
		t.Columns = append(t.Columns, names[c])
	}
	var classes []string
	row, next := first, 1 // the line of a table of one column, whose blank lines are rows without a value
	if !o.NoHeader {
		line, _ := rows.FieldPos(0)
		next = line + 1 + strings.Count(first[0], "\n")
		row, err = rows.Read()
	}
	for ; err == nil; row, err = rows.Read() {
		line, _ := rows.FieldPos(0)
		if len(names) == 1 && line != next {
			return Table{}, fmt.Errorf("line %d is empty, want a number (leave out the row)", next)
		}
		next = line + 1 + strings.Count(row[0], "\n")
		for _, c := range columns {
			v, err := parseCell(row[c])
			if err != nil {
				return Table{}, fmt.Errorf("line %d, column %s: %w", line, shorten(names[c], 60), err)
			}
			t.Values = append(t.Values, v)
		}
		if label >= 0 {
			classes = append(classes, strings.TrimSpace(row[label]))
		}
	}
	if errors.Is(err, csv.ErrFieldCount) {
		line, _ := rows.FieldPos(0)
		return Table{}, fmt.Errorf("line %d has another number of columns, want %d as in the first", line, len(names))
	}
	if !errors.Is(err, io.EOF) {
		return Table{}, err
	}
	if t.Values == nil {
		return Table{}, errors.New("has no rows under its header")
	}
	if label >= 0 {
		if t.Labels, t.Classes, err = numberClasses(classes, o.Classes); err != nil {
			return Table{}, fmt.Errorf("column %s: %w", shorten(names[label], 60), err)
		}
	}
	return t, nil
}

// openCSV finds out what separates the columns: of the comma, the semicolon and
// the tab the one that the first line has most of. Text in UTF-16 that says so,
// and lines that end in CR alone, are read as well.
func openCSV(r io.Reader) (*csv.Reader, error) {
	b := bufio.NewReaderSize(transform.NewReader(r, unicode.BOMOverride(transform.Nop)), 1<<16)
	start, err := b.Peek(1 << 16)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.IndexByte(start, 0) >= 0 {
		return nil, errors.New("has bytes of 0, want text in UTF-8, or in UTF-16 with a byte order mark")
	}
	if bytes.IndexByte(start, '\n') < 0 && bytes.IndexByte(start, '\r') >= 0 {
		start = bytes.ReplaceAll(start, []byte("\r"), []byte("\n"))
		b = bufio.NewReader(carriageReturns{b})
	}
	line, _, _ := bytes.Cut(start, []byte("\n"))
	rows := csv.NewReader(b)
	for _, c := range []string{";", "\t"} {
		if bytes.Count(line, []byte(c)) > bytes.Count(line, []byte(string(rows.Comma))) {
			rows.Comma = rune(c[0])
		}
	}
	rows.TrimLeadingSpace = rows.Comma != '\t' // else empty cells would go, too
	return rows, nil
}

// carriageReturns reads CR as LF.
type carriageReturns struct{ r io.Reader }

func (c carriageReturns) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// pickColumns returns the places of the columns that are wanted, and of the
// label, -1 for none.
func pickColumns(names []string, o CSVOptions) (columns []int, label int, err error) {
	first := make(map[string]int, len(names)) // the place of each name: tables may have 100,000 columns
	for i := len(names) - 1; i >= 0; i-- {
		first[names[i]] = i
	}
	find := func(what string) (int, error) {
		if i, ok := first[what]; ok {
			return i, nil
		}
		if i, err := strconv.Atoi(what); err == nil && i >= 1 && i <= len(names) {
			return i - 1, nil
		}
		return 0, fmt.Errorf("there is no column %q, want a number of 1 to %d or one of %s", shorten(what, 60), len(names), shorten(strings.Join(names, ", "), 200))
	}
	label = -1
	if o.Label != "" {
		if label, err = find(o.Label); err != nil && o.OptionalLabel {
			label = -1
		} else if err != nil {
			return nil, 0, fmt.Errorf("label: %w", err)
		}
	}
	if o.Columns == nil {
		for i := range names {
			if i != label {
				columns = append(columns, i)
			}
		}
	}
	for _, c := range o.Columns {
		i, err := find(c)
		if err != nil {
			return nil, 0, fmt.Errorf("columns: %w", err)
		}
		columns = append(columns, i)
	}
	if columns == nil {
		return nil, 0, errors.New("has no column but the label")
	}
	return columns, label, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil
}

func parseCell(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, errors.New("is empty, want a number (leave out the row or the column)")
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v-v != 0 || math.IsInf(float64(float32(v)), 0) {
		return 0, fmt.Errorf("is %q, want a finite number (data.label, or --label of some commands, names a column of classes; data.columns chooses columns)", shorten(s, 60))
	}
	return v, nil
}
