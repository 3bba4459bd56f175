package cuda

import "github.com/convae/convae/nn/backend"

// valueRows says how the windows of a grid are dealt to blocks in units, and how pixels and values lie in shared memory: FewWindows and FewLayout of
// conv_few_rows.cuh.
type valueRows struct {
	grid          backend.Shape
	matrices      int // of eight values, or of the 1 behind them
	rows, width   int // of a unit
	strips, bands int // strips of an image, and units of a strip
	units         int
	plane, row    int // pixels of a row that are a stride apart, and floats of a row
	c, eights     int // channels; positions of a row, and what makes them a multiple of 8
	bytes         int // of shared memory
}

const (
	fewGroup  = 32  // WARP_CHANNELS of conv_few_rows.cuh
	fewPlaces = 512 // a unit has positions for so many rows of values, or for fewer
)

// valueRowsFor is false for windows, kh by kw, of too many values or a pool of more than 2, or if they do not fit. The grid is what a pool leaves, and
// copies are those of an upsampled pixel whose gradients are summed, to a side.
func (d *Device) valueRowsFor(grid backend.Shape, c, kh, kw, stride, pool, copies int) (f valueRows, ok bool) {
	if !d.tensorCores() || c*kh*kw >= fewValues || c%4 == 0 || pool > 2 || copies > 2 {
		return f, false
	}
	f.grid, f.c, f.matrices = grid, c, 4
	if c*kh*kw < fewValues/2 {
		f.matrices = 2
	}
	places := pool * pool
	f.width = min(grid.W, fewPlaces/places/2)
	f.rows = min(grid.H, max(fewPlaces/places/f.width, 1))
	f.strips, f.bands = ceilDiv(grid.W, f.width), ceilDiv(grid.H, f.rows)
	f.units = grid.N * f.strips * f.bands
	pixel, across := c|1, (f.width*pool-1)*stride+kw+copies-1
	f.plane, f.eights = ceilDiv(across, stride), ceilDiv(f.width*pool, 8)*8
	for stride > 1 && 32%stride == 0 && f.plane*pixel%32 != 32/stride { // copies of neighbours go to different banks
		f.plane++
	}
	f.row = stride * f.plane * pixel
	for least := f.row; (stride*f.row-f.eights*pixel)%32 != 0 && f.row < least+32; { // the end of a row and the next one lie in different ones
		f.row++
	}
	down := (f.rows*pool-1)*stride + kh + copies - 1
	f.bytes = tensorUnit * (ceilDiv(down*f.row, 4) + places*(f.rows*ceilDiv(f.width, 16)*16+4)*(f.matrices+1))
	return f, f.bytes <= tensorBytes
}

// fewGroupsFor is how many groups of fewGroup channels a block has of so many, and how many such blocks there are.
func fewGroupsFor(channels int) (groups, tiles int) {
	for groups = 1; groups < 4 && groups*fewGroup < channels; {
		groups *= 2
	}
	return groups, ceilDiv(channels, groups*fewGroup)
}

// addValueRows adds the parameters FEW_WINDOWS_PARAMS.
func (a *arguments) addValueRows(f *valueRows) {
	a.add(i32(f.grid.H), i32(f.grid.W), i32(f.rows), i32(f.width), i32(f.strips), i32(f.bands), divider(f.strips), divider(f.bands),
		i32(f.plane), i32(f.row), divider(f.c), divider(f.eights))
}
