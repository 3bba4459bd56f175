package ptxsim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/convae/convae/cuda/driver"
)

// mapMagic begins the tensor maps of this driver. Those of the real one are secret.
const mapMagic = 0x70616d5f6d697378

// tensorMapBytes is the size of a tensor map as a kernel's parameter.
const tensorMapBytes = 128

// EncodeTiled makes a tensor map.
func (d *Device) EncodeTiled(t *driver.Tiled) (m driver.TensorMap, err error) {
	if !d.opt.info().TakesTensorMaps() {
		return m, driver.ErrNoTensorMaps
	}
	if err := t.Check(); err != nil {
		return m, fmt.Errorf("ptxsim: tensor map: %w", err)
	}
	// Word 0 says that it is one, 1 is the address, 2 the type and the number of dimensions; then come 5 sizes of 40 bits with the box in 16 bits
	// above, and 4 strides.
	m[0], m[1], m[2] = mapMagic, uint64(t.Base), uint64(t.Type)|uint64(len(t.Sizes))<<8
	for i, n := range t.Sizes {
		m[3+i] = uint64(n) | uint64(t.Box[i])<<40
	}
	for i, s := range t.Strides {
		m[8+i] = uint64(s)
	}
	return m, nil
}

var errNoMap = errors.New("no tensor map of this driver")

// DecodeMap returns the tensor of a map that EncodeTiled made, from the bytes of a kernel's parameter.
func DecodeMap(param []byte) (*driver.Tiled, error) {
	var m driver.TensorMap
	if len(param) < tensorMapBytes {
		return nil, errNoMap
	}
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(param[8*i:])
	}
	if m[0] != mapMagic {
		return nil, errNoMap
	}
	t := &driver.Tiled{Base: driver.Ptr(m[1]), Type: driver.ElementType(m[2] & 0xff)}
	rank := int(m[2] >> 8)
	for i := range rank {
		t.Sizes, t.Box = append(t.Sizes, int(m[3+i]&(1<<40-1))), append(t.Box, int(m[3+i]>>40))
	}
	for i := range rank - 1 {
		t.Strides = append(t.Strides, int(m[8+i]))
	}
	return t, t.Check()
}
