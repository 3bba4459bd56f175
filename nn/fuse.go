package nn

import "github.com/convae/convae/nn/backend"

// fuse returns the nodes lo to hi of the model with neighbours merged into one op where the Backend contract has one:
// an activation or a pool into the convolution before it, an upsampling into the convolution after it. Nothing is
// merged across the end of the encoder, so that the code stays a tensor of its own.
func (m *Model) fuse(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if m.samePart(*last, n) && merge(last, n) {
				continue
			}
		}
		out = append(out, n)
	}
	return out
}

func (m *Model) samePart(a, b node) bool { return m.Layers[a.layer].Part == m.Layers[b.layer].Part }

// merge makes a do the work of a then b, if one op can.
func merge(a *node, b node) bool {
	switch {
	case b.op == opAct && a.op == opConv && a.conv.Act == backend.Linear && a.conv.Pool <= 1:
		a.conv.Act = b.act
	case b.op == opAct && a.op == opConvTranspose && a.convT.Act == backend.Linear:
		a.convT.Act = b.act
	case b.op == opAct && a.op == opDense && a.dense.Act == backend.Linear:
		a.dense.Act = b.act
	case b.op == opPool && a.op == opConv && a.conv.Pool <= 1 && (b.pool.Stride == b.pool.Size) &&
		a.out.H%b.pool.Size == 0 && a.out.W%b.pool.Size == 0:
		a.conv.Pool = b.pool.Size
	case b.op == opConv && a.op == opUpsample:
		in := a.in
		b.conv.X, b.conv.Up = in, a.up
		*a = b
		a.in = in
		return true
	default:
		return false
	}
	a.out = b.out
	return true
}

// outAct returns the activation that a node's own op applies to its output.
func (n node) outAct() backend.Act {
	switch n.op {
	case opConv:
		return n.conv.Act
	case opConvTranspose:
		return n.convT.Act
	case opDense:
		return n.dense.Act
	}
	return backend.Linear
}

// setInAct tells the node that its input gradient is to include the derivative of the activation before it. It
// reports whether the node's op can do that.
func (n *node) setInAct(a backend.Act) bool {
	switch n.op {
	case opConv:
		n.conv.InAct = a
	case opConvTranspose:
		n.convT.InAct = a
	case opDense:
		n.dense.InAct = a
	default:
		return false
	}
	return true
}

// withN returns the node for n samples.
func (n node) withN(k int) node {
	n.in.N, n.out.N = k, k
	n.conv.X.N, n.convT.X.N, n.dense.N, n.pool.X.N = k, k, k, k
	return n
}
