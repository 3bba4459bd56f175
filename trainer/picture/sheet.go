package picture

import (
	"image"
	"image/color"
	"image/draw"
	"strings"
)

// Row is a row of a sheet. Lines of the label after the first are drawn in a
// lighter tone. An image without pixels leaves its place empty.
type Row struct {
	Label  string
	Images []Image
}

// SheetOptions are the options of [Sheet]; the zero value leaves all to it.
type SheetOptions struct {
	Title   string // above the images
	Caption string // below the images
	Scale   int    // side in pixels of an image's pixel; below 1, the images of each row become about 84 pixels large
}

// Sizes of a sheet in pixels.
const (
	cellSize    = 84 // larger side of an image, as far as whole factors allow
	sheetMargin = 24
	sheetGap    = 7  // between images
	labelGap    = 18 // between a label and its images
	titleSize   = 22
	labelSize   = 17
	captionSize = 15
	leastWidth  = 320 // of a text, however few the images
)

// Colours of a sheet.
var (
	paper    = color.RGBA{0xf6, 0xf6, 0xf4, 0xff}
	edge     = color.RGBA{0xc4, 0xc4, 0xc0, 0xff}
	ink      = color.RGBA{0x22, 0x22, 0x22, 0xff}
	lightInk = color.RGBA{0x66, 0x66, 0x66, 0xff}
)

// Sheet draws rows of images, their labels at the left, each pixel of an image
// a square of whole pixels of the sheet. Images of several sizes in a row share
// the same scale, and all are centred in places that hold the largest. It panics if an image
// has other than H*W*C pixels or 1 or 3 channels.
func Sheet(rows []Row, opts SheetOptions) image.Image {
	s := layOut(rows, opts)
	m := image.NewRGBA(image.Rect(0, 0, s.w, s.h))
	draw.Draw(m, m.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)

	for i, line := range s.titleLines {
		s.title.draw(m, sheetMargin, sheetMargin+i*s.title.height, line)
	}
	for i, row := range rows {
		y := s.top + i*(s.rowH+sheetGap)
		s.drawLabel(m, y, row.Label)
		for j, img := range row.Images {
			if len(img.Pix) == 0 {
				continue
			}
			x := s.left + j*(s.cellW+sheetGap)
			scale := s.scales[i]
			drawImage(m, x+(s.cellW-img.W*scale)/2, y+(s.rowH-img.H*scale)/2, scale, img)
		}
	}
	for i, line := range s.captionLines {
		s.caption.draw(m, sheetMargin, s.captionTop+i*s.caption.height, line)
	}
	return m
}

// layout says where everything on a sheet goes, in pixels.
type layout struct {
	w, h         int
	scales       []int // of each row
	cellW, cellH int   // place of one image
	rowH         int   // of the images and of the labels
	left, top    int   // corner of the first place
	captionTop   int

	title, label, note, caption textStyle
	titleLines, captionLines    []string
}

// layOut measures the images and texts of a sheet.
func layOut(rows []Row, opts SheetOptions) *layout {
	s := &layout{
		title:   newTextStyle(medium(), titleSize, ink),
		label:   newTextStyle(regular(), labelSize, ink),
		note:    newTextStyle(regular(), captionSize, lightInk),
		caption: newTextStyle(regular(), captionSize, lightInk),
	}
	columns, labelW, labelH := 0, 0, 0
	for _, row := range rows {
		columns = max(columns, len(row.Images))
		first, rest := splitLabel(row.Label)
		labelW = max(labelW, s.label.widest(first), s.note.widest(rest))
		labelH = max(labelH, len(first)*s.label.height+len(rest)*s.note.height)
		w, h := 0, 0
		for _, img := range row.Images {
			if len(img.Pix) > 0 {
				img.check()
				w, h = max(w, img.W), max(h, img.H)
			}
		}
		scale := opts.Scale
		if scale < 1 {
			scale = cellScale(h, w)
		}
		s.scales = append(s.scales, scale)
		s.cellW, s.cellH = max(s.cellW, w*scale), max(s.cellH, h*scale)
	}
	s.rowH = max(s.cellH, labelH)

	s.left, s.top = sheetMargin, sheetMargin
	if labelW > 0 {
		s.left += labelW + labelGap
	}
	right := s.left + max(0, columns*(s.cellW+sheetGap)-sheetGap)
	width := max(right-sheetMargin, leastWidth)

	if s.titleLines = s.title.wrap(opts.Title, width); len(s.titleLines) > 0 {
		s.top += len(s.titleLines)*s.title.height + sheetMargin/2
	}
	bottom := s.top + max(0, len(rows)*(s.rowH+sheetGap)-sheetGap)
	if s.captionLines = s.caption.wrap(opts.Caption, width); len(s.captionLines) > 0 {
		s.captionTop = bottom + sheetMargin/2
		bottom = s.captionTop + len(s.captionLines)*s.caption.height
	}
	text := sheetMargin + max(s.title.widest(s.titleLines), s.caption.widest(s.captionLines))
	s.w, s.h = max(right, text)+sheetMargin, bottom+sheetMargin
	return s
}

// cellScale is the side in pixels of a pixel of images of that size.
func cellScale(h, w int) int {
	side := max(1, h, w)
	return max(1, (cellSize+side/2)/side)
}

// SheetBytes returns about the bytes that a sheet takes of so many rows and columns of images of h by w pixels.
func SheetBytes(rows, columns, h, w int) int {
	scale, texts := cellScale(h, w), 2*(titleSize+captionSize)
	return 4 * (2*sheetMargin + texts + columns*(w*scale+sheetGap)) * (2*sheetMargin + texts + rows*(h*scale+sheetGap))
}

// drawLabel draws the label of the row whose images start at y.
func (s *layout) drawLabel(m draw.Image, y int, label string) {
	first, rest := splitLabel(label)
	y += (s.rowH - len(first)*s.label.height - len(rest)*s.note.height) / 2
	for _, line := range first {
		s.label.draw(m, sheetMargin, y, line)
		y += s.label.height
	}
	for _, line := range rest {
		s.note.draw(m, sheetMargin, y, line)
		y += s.note.height
	}
}

// splitLabel returns the first line of a label, if it has any, and the others.
func splitLabel(label string) (first, rest []string) {
	if label == "" {
		return nil, nil
	}
	lines := strings.Split(label, "\n")
	return lines[:1], lines[1:]
}

// drawImage draws img with its corner at x, y inside a thin edge that sets it
// off from the paper.
func drawImage(m *image.RGBA, x, y, scale int, img Image) {
	frame := image.Rect(x, y, x+img.W*scale, y+img.H*scale)
	draw.Draw(m, frame.Inset(-1), image.NewUniform(edge), image.Point{}, draw.Src)
	for r := frame.Min.Y; r < frame.Max.Y; r++ {
		for c := frame.Min.X; c < frame.Max.X; c++ {
			m.SetRGBA(c, r, img.at((c-x)/scale, (r-y)/scale))
		}
	}
}
