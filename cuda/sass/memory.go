package sass

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
)

// Region is a piece of global memory at an address. Data is read in place and never written.
type Region struct {
	Base uint64
	Data []byte
}

const pageSize = 4096

// page holds what the machine code made of a page, and which bytes it wrote.
type page struct {
	data  [pageSize]byte
	wrote [pageSize]bool
}

// memory is global memory, whose writes go to copies of its pages.
type memory struct {
	list []span
	last *span
}

type span struct {
	Region
	pages []*page
}

func newMemory(regions []Region) *memory {
	m := &memory{list: make([]span, len(regions))}
	for i, r := range regions {
		m.list[i] = span{r, make([]*page, (len(r.Data)+pageSize-1)/pageSize)}
	}
	sort.Slice(m.list, func(i, j int) bool { return m.list[i].Base < m.list[j].Base })
	return m
}

// at returns n bytes at an address. They lie in one page, for accesses are aligned.
func (m *memory) at(addr uint64, n int, write bool) ([]byte, error) {
	s := m.last
	if s == nil || addr < s.Base || addr+uint64(n) > s.Base+uint64(len(s.Data)) {
		i := sort.Search(len(m.list), func(i int) bool { return m.list[i].Base > addr }) - 1
		if i < 0 || addr+uint64(n) > m.list[i].Base+uint64(len(m.list[i].Data)) {
			return nil, fmt.Errorf("%d bytes at %#x are in no allocation", n, addr)
		}
		s = &m.list[i]
		m.last = s
	}
	if addr%uint64(n) != 0 {
		return nil, fmt.Errorf("%d bytes at %#x are not aligned", n, addr)
	}
	off := int(addr - s.Base)
	p := s.pages[off/pageSize]
	if p == nil {
		if !write {
			return s.Data[off:][:n], nil
		}
		p = new(page)
		copy(p.data[:], s.Data[off/pageSize*pageSize:])
		s.pages[off/pageSize] = p
	}
	in := off % pageSize
	if write {
		for i := range n {
			p.wrote[in+i] = true
		}
	}
	return p.data[in:][:n], nil
}

// read copies bytes that neither need be aligned nor lie in one page.
func (m *memory) read(to []byte, addr uint64) error {
	n := len(to)
	if n&(n-1) == 0 && addr%uint64(n) == 0 {
		data, err := m.at(addr, n, false)
		copy(to, data)
		return err
	}
	for i := range to {
		data, err := m.at(addr+uint64(i), 1, false)
		if err != nil {
			return err
		}
		to[i] = data[0]
	}
	return nil
}

// compare looks for the first byte that differs from what memory holds after the launch. before, if not nil, is what the
// regions held before it, in the order of their addresses: then a byte that changed and was not written differs too.
func (m *memory) compare(before [][]byte) error {
	for i := range m.list {
		s := &m.list[i]
		for n, p := range s.pages {
			if p == nil && before == nil {
				continue
			}
			data := s.Data[n*pageSize : min((n+1)*pageSize, len(s.Data))]
			var old []byte
			if before != nil {
				old = before[i][n*pageSize:]
			}
			if err := comparePage(p, data, old); err != nil {
				return fmt.Errorf("%w in page %d of the %d bytes at %#x", err, n, len(s.Data), s.Base)
			}
		}
	}
	return nil
}

// sameNaN reports that two words are float32 NaNs that differ in the sign alone, which PTX leaves open: the processors that both simulators run
// on make it of the operation.
func sameNaN(a, b []byte) bool {
	if len(b) < 4 {
		return false
	}
	x, y := binary.LittleEndian.Uint32(a), binary.LittleEndian.Uint32(b)
	return x^y == 1<<31 && math.IsNaN(float64(math.Float32frombits(x)))
}

func comparePage(p *page, data, old []byte) error {
	for i, v := range data {
		switch {
		case p != nil && p.wrote[i]:
			if w := i &^ 3; p.data[i] != v && !sameNaN(p.data[w:w+4], data[w:min(w+4, len(data))]) {
				return fmt.Errorf("word %d is % x, by the PTX % x", w/4, p.data[w:w+4], data[w:min(w+4, len(data))])
			}
		case old != nil && old[i] != v:
			return fmt.Errorf("byte %d is written by the PTX alone", i)
		}
	}
	return nil
}
