// Package kernels holds the GPU code: CUDA C++ sources, one for each family of ops, and the PTX that
// scripts/build_kernels.sh makes of them. Kernels compute; grids and blocks are the business of package cuda.
//
// A PTX file is named after its source and the least architecture that runs it: pool.sm_75.ptx comes from pool.cu. A
// source for newer devices, such as conv.sm_80.cu, may hold better forms of some entries; Select takes, entry by entry,
// the best that a device runs.
package kernels

import (
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed *.ptx
var files embed.FS

// Entry is a kernel.
type Entry int

// The kernels, by the family whose file they are in. What each computes stands above it in its source.
const (
	VectorAxpy Entry = iota
	VectorSum
	VectorClock

	ConvForward
	ConvForward4
	ConvForwardWide4
	ConvForwardSmall4
	ConvForwardEach
	ConvForwardEach4
	ConvBackInput
	ConvBackInput4
	ConvBackInputWide4
	ConvBackInputSmall4
	ConvBackInputEach
	ConvBackInputEach4
	ConvForwardHalo4
	ConvForwardHaloWide4
	ConvForwardHaloSmall4
	ConvBackInputHalo4
	ConvBackInputHaloWide4
	ConvBackInputHaloSmall4
	ConvForwardTensor
	ConvForwardTensorWide
	ConvForwardTensorDeep
	ConvForwardTensorSmall
	ConvBackInputTensor
	ConvBackInputTensorWide
	ConvBackInputTensorDeep
	ConvBackInputTensorSmall
	ConvForwardWGMMA
	ConvForwardWGMMATall
	ConvForwardWGMMATurned
	ConvForwardWGMMAWide
	ConvForwardWGMMALarge
	ConvBackInputWGMMA
	ConvBackInputWGMMATall
	ConvBackInputWGMMATurned
	ConvBackInputWGMMAWide
	ConvBackInputWGMMALarge
	ConvForwardWGMMABF16
	ConvForwardWGMMABF16Tall
	ConvForwardWGMMABF16Turned
	ConvForwardWGMMABF16Wide
	ConvForwardWGMMABF16Large
	ConvBackInputWGMMABF16
	ConvBackInputWGMMABF16Tall
	ConvBackInputWGMMABF16Turned
	ConvBackInputWGMMABF16Wide
	ConvBackInputWGMMABF16Large
	ConvWGMMAFedForward
	ConvWGMMAFedForwardLarge
	ConvWGMMAFedBackInput
	ConvWGMMAFedBackInputLarge
	ConvBackWeightsWGMMABF16
	ConvBackWeightsWGMMABF16Pool2
	ConvBackWeightsWGMMABF16Few
	ConvBackWeightsWGMMABF16FewPool2
	ConvForwardFew
	ConvForwardFewPool2
	ConvBackInputFew
	ConvForwardFewTensor
	ConvForwardFewTensorPool2
	ConvBackInputFewTensor
	ConvForwardLanesTensor
	ConvForwardLanesTensor2
	ConvForwardLanes1
	ConvForwardLanes4
	ConvBackInputLanes1
	ConvBackInputLanes4
	ConvBackWeightsFew12
	ConvBackWeightsFew32
	ConvLanesPairsForward
	ConvLanesPairsForward2
	ConvFewPairsForward
	ConvFewPairsForwardPool2
	ConvFewPairsBackInput
	ConvFewPairsBackInputUp2
	ConvFewPairsForwardSmall
	ConvFewPairsForwardSmallPool2
	ConvFewPairsBackInputSmall
	ConvFewPairsBackInputSmallUp2
	ConvBackWeightsFewTensorBF16
	ConvBackWeightsFewTensorBF16Pool2
	ConvBackWeightsFewTensorBF16Up2
	ConvBackWeightsFewTensorBF16Small
	ConvBackWeightsFewTensorBF16SmallPool2
	ConvBackWeightsFewTensorBF16SmallUp2
	ConvBackWeights
	ConvBackWeights4
	ConvBackWeightsFew4
	ConvBackWeightsHalo4
	ConvBackWeightsTensor
	ConvBackWeightsTensorSmall
	ConvForwardTensorBF16
	ConvForwardTensorBF16Wide
	ConvForwardTensorBF16Deep
	ConvForwardTensorBF16Small
	ConvBackInputTensorBF16
	ConvBackInputTensorBF16Wide
	ConvBackInputTensorBF16Deep
	ConvBackInputTensorBF16Small
	ConvBackWeightsTensorBF16
	ConvBackWeightsTensorBF16Small
	ConvPack
	ConvSpread
	ConvSpread4
	ConvForwardTensorSplit
	ConvForwardTensorSplitWide
	ConvForwardTensorSplitDeep
	ConvForwardTensorSplitSmall
	ConvBackInputTensorSplit
	ConvBackInputTensorSplitWide
	ConvBackInputTensorSplitDeep
	ConvBackInputTensorSplitSmall
	ConvBackWeightsTensorSplit
	ConvBackWeightsTensorSplitSmall

	GemmNT
	GemmNT4
	GemmNTSquare4
	GemmNTWide4
	GemmNTTensor4
	GemmNTTensorSquare4
	GemmNTTensorWide4
	GemmNN
	GemmNN4
	GemmNNSquare4
	GemmNNWide4
	GemmNNTensor4
	GemmNNTensorSquare4
	GemmNNTensorWide4
	GemmTN
	GemmTN4
	GemmTNSquare4
	GemmTNWide4
	GemmTNTensor4
	GemmTNTensorSquare4
	GemmTNTensorWide4
	GemmNTTensorSplit4
	GemmNTTensorSplitSquare4
	GemmNTTensorSplitWide4
	GemmNNTensorSplit4
	GemmNNTensorSplitSquare4
	GemmNNTensorSplitWide4
	GemmTNTensorSplit4
	GemmTNTensorSplitSquare4
	GemmTNTensorSplitWide4

	PartialSum

	ResidentStep
	ResidentStepSplit

	GroupedForward
	GroupedForward4
	GroupedBackInput
	GroupedBackInput4
	GroupedBackWeights

	PoolForward
	PoolForward4
	PoolBack
	PoolBack4
	PoolAverage
	PoolAverage4
	PoolAverageBack
	PoolAverageBack4

	UpsampleForward
	UpsampleForward4
	UpsampleBack
	UpsampleBack4
	UpsampleBilinear
	UpsampleBilinear4
	UpsampleBilinearBack
	UpsampleBilinearBack4

	DepthToSpace
	DepthToSpace4
	DepthBack
	DepthBack4

	ChannelwiseTimes
	ChannelwiseTimes4
	ChannelwiseSum
	ChannelwiseSum4
	ChannelwiseSpread
	ChannelwiseSpread4

	UnitNormForward
	UnitNormBack

	MergePlus
	MergeChannels
	MergeChannels4

	BatchNormStatistics
	BatchNormStatistics4
	BatchNormSums
	BatchNormSums4
	BatchNormForward
	BatchNormForward4
	BatchNormBack
	BatchNormBack4
	BatchNormMoments
	BatchNormTotals

	ActForward
	ActBack
	ActRescale

	AttentionForward128
	AttentionForward512
	AttentionDelta
	AttentionBackQuery128
	AttentionBackQuery512
	AttentionBackKey128
	AttentionBackKey512

	GroupNormForward
	GroupNormForward4
	GroupNormBack
	GroupNormBack4
	GroupNormPixels
	GroupNormPixels4
	GroupNormPixelsBack
	GroupNormPixelsBack4
	GroupNormScalesBack
	GroupNormScalesBack4

	LossBCE
	LossMSE
	LossL1
	LossHuber
	LossCharbonnier
	LossVariation
	LossTotal

	FourierLines
	FourierMost
	FourierFocal

	OptimSGD
	OptimAdam
	OptimNadam
	OptimAdadelta
	OptimRMSprop
	OptimLion
	OptimLambMoments
	OptimLamb
	OptimSGDSums
	OptimAdamSums
	OptimNadamSums
	OptimAdadeltaSums
	OptimRMSpropSums
	OptimLionSums

	RandomNormal
	RandomDropout
	RandomGather
	RandomSelect

	CorruptSample
	CorruptJPEG

	ClipValue
	ClipSquares
	ClipNorm

	PenaltyNorms
	PenaltyColumns
	PenaltySparse
	PenaltyRow

	GaussianSample
	GaussianBack
	GaussianClamp
	GaussianClampBack

	ContractDense
	ContractPerturb

	ConcreteSelect
	ConcretePick
	ConcreteBack

	QuantizeForward
	QuantizeSums
	QuantizeMove

	SSIMForward
	SSIMBack
	SSIMLoss

	Count int = iota // number of entries
)

// entries gives every Entry its name in the PTX and its number of parameters. The name starts with its family's.
var entries = [Count]struct {
	name   string
	params int
}{
	VectorAxpy:  {"vector_axpy", 5},
	VectorSum:   {"vector_sum", 11},
	VectorClock: {"vector_clock", 9},

	ConvForward:                            {"conv_forward", 32},
	ConvForward4:                           {"conv_forward4", 32},
	ConvForwardWide4:                       {"conv_forward_wide4", 32},
	ConvForwardSmall4:                      {"conv_forward_small4", 32},
	ConvForwardEach:                        {"conv_forward_each", 32},
	ConvForwardEach4:                       {"conv_forward_each4", 32},
	ConvBackInput:                          {"conv_back_input", 32},
	ConvBackInput4:                         {"conv_back_input4", 32},
	ConvBackInputWide4:                     {"conv_back_input_wide4", 32},
	ConvBackInputSmall4:                    {"conv_back_input_small4", 32},
	ConvBackInputEach:                      {"conv_back_input_each", 32},
	ConvBackInputEach4:                     {"conv_back_input_each4", 32},
	ConvForwardHalo4:                       {"conv_forward_halo4", 39},
	ConvForwardHaloWide4:                   {"conv_forward_halo_wide4", 39},
	ConvForwardHaloSmall4:                  {"conv_forward_halo_small4", 39},
	ConvBackInputHalo4:                     {"conv_back_input_halo4", 39},
	ConvBackInputHaloWide4:                 {"conv_back_input_halo_wide4", 39},
	ConvBackInputHaloSmall4:                {"conv_back_input_halo_small4", 39},
	ConvForwardTensor:                      {"conv_forward_tensor", 42},
	ConvForwardTensorWide:                  {"conv_forward_tensor_wide", 42},
	ConvForwardTensorDeep:                  {"conv_forward_tensor_deep", 42},
	ConvForwardTensorSmall:                 {"conv_forward_tensor_small", 42},
	ConvBackInputTensor:                    {"conv_back_input_tensor", 42},
	ConvBackInputTensorWide:                {"conv_back_input_tensor_wide", 42},
	ConvBackInputTensorDeep:                {"conv_back_input_tensor_deep", 42},
	ConvBackInputTensorSmall:               {"conv_back_input_tensor_small", 42},
	ConvWGMMAFedForward:                    {"conv_wgmma_fed_forward", 44},
	ConvWGMMAFedForwardLarge:               {"conv_wgmma_fed_forward_large", 44},
	ConvWGMMAFedBackInput:                  {"conv_wgmma_fed_back_input", 44},
	ConvWGMMAFedBackInputLarge:             {"conv_wgmma_fed_back_input_large", 44},
	ConvBackWeightsWGMMABF16:               {"conv_back_weights_wgmma_bf16", 48},
	ConvBackWeightsWGMMABF16Pool2:          {"conv_back_weights_wgmma_bf16_pool2", 48},
	ConvBackWeightsWGMMABF16Few:            {"conv_back_weights_wgmma_bf16_few", 48},
	ConvBackWeightsWGMMABF16FewPool2:       {"conv_back_weights_wgmma_bf16_few_pool2", 48},
	ConvForwardFew:                         {"conv_forward_few", 34},
	ConvForwardFewPool2:                    {"conv_forward_few_pool2", 34},
	ConvBackInputFew:                       {"conv_back_input_few", 34},
	ConvForwardFewTensor:                   {"conv_forward_few_tensor", 38},
	ConvForwardFewTensorPool2:              {"conv_forward_few_tensor_pool2", 38},
	ConvBackInputFewTensor:                 {"conv_back_input_few_tensor", 38},
	ConvForwardLanesTensor:                 {"conv_forward_lanes_tensor", 35},
	ConvForwardLanesTensor2:                {"conv_forward_lanes_tensor2", 35},
	ConvLanesPairsForward:                  {"conv_lanes_pairs_forward", 35},
	ConvLanesPairsForward2:                 {"conv_lanes_pairs_forward2", 35},
	ConvForwardLanes1:                      {"conv_forward_lanes1", 31},
	ConvForwardLanes4:                      {"conv_forward_lanes4", 31},
	ConvBackInputLanes1:                    {"conv_back_input_lanes1", 31},
	ConvBackInputLanes4:                    {"conv_back_input_lanes4", 31},
	ConvBackWeightsFew12:                   {"conv_back_weights_few12", 43},
	ConvBackWeightsFew32:                   {"conv_back_weights_few32", 43},
	ConvFewPairsForward:                    {"conv_few_pairs_forward", 44},
	ConvFewPairsForwardPool2:               {"conv_few_pairs_forward_pool2", 44},
	ConvFewPairsBackInput:                  {"conv_few_pairs_back_input", 44},
	ConvFewPairsBackInputUp2:               {"conv_few_pairs_back_input_up2", 44},
	ConvFewPairsForwardSmall:               {"conv_few_pairs_forward_small", 44},
	ConvFewPairsForwardSmallPool2:          {"conv_few_pairs_forward_small_pool2", 44},
	ConvFewPairsBackInputSmall:             {"conv_few_pairs_back_input_small", 44},
	ConvFewPairsBackInputSmallUp2:          {"conv_few_pairs_back_input_small_up2", 44},
	ConvBackWeightsFewTensorBF16:           {"conv_back_weights_few_tensor_bf16", 49},
	ConvBackWeightsFewTensorBF16Pool2:      {"conv_back_weights_few_tensor_bf16_pool2", 49},
	ConvBackWeightsFewTensorBF16Up2:        {"conv_back_weights_few_tensor_bf16_up2", 49},
	ConvBackWeightsFewTensorBF16Small:      {"conv_back_weights_few_tensor_bf16_small", 49},
	ConvBackWeightsFewTensorBF16SmallPool2: {"conv_back_weights_few_tensor_bf16_small_pool2", 49},
	ConvBackWeightsFewTensorBF16SmallUp2:   {"conv_back_weights_few_tensor_bf16_small_up2", 49},
	ConvBackWeights:                        {"conv_back_weights", 43},
	ConvBackWeights4:                       {"conv_back_weights4", 43},
	ConvBackWeightsFew4:                    {"conv_back_weights_few4", 43},
	ConvBackWeightsHalo4:                   {"conv_back_weights_halo4", 43},
	ConvBackWeightsTensor:                  {"conv_back_weights_tensor", 47},
	ConvBackWeightsTensorSmall:             {"conv_back_weights_tensor_small", 47},
	ConvForwardTensorBF16:                  {"conv_forward_tensor_bf16", 42},
	ConvForwardTensorBF16Wide:              {"conv_forward_tensor_bf16_wide", 42},
	ConvForwardTensorBF16Deep:              {"conv_forward_tensor_bf16_deep", 42},
	ConvForwardTensorBF16Small:             {"conv_forward_tensor_bf16_small", 42},
	ConvBackInputTensorBF16:                {"conv_back_input_tensor_bf16", 42},
	ConvBackInputTensorBF16Wide:            {"conv_back_input_tensor_bf16_wide", 42},
	ConvBackInputTensorBF16Deep:            {"conv_back_input_tensor_bf16_deep", 42},
	ConvBackInputTensorBF16Small:           {"conv_back_input_tensor_bf16_small", 42},
	ConvBackWeightsTensorBF16:              {"conv_back_weights_tensor_bf16", 47},
	ConvBackWeightsTensorBF16Small:         {"conv_back_weights_tensor_bf16_small", 47},
	ConvForwardWGMMA:                       {"conv_forward_wgmma", 41},
	ConvForwardWGMMATall:                   {"conv_forward_wgmma_tall", 41},
	ConvForwardWGMMATurned:                 {"conv_forward_wgmma_turned", 41},
	ConvForwardWGMMAWide:                   {"conv_forward_wgmma_wide", 41},
	ConvForwardWGMMALarge:                  {"conv_forward_wgmma_large", 41},
	ConvBackInputWGMMA:                     {"conv_back_input_wgmma", 41},
	ConvBackInputWGMMATall:                 {"conv_back_input_wgmma_tall", 41},
	ConvBackInputWGMMATurned:               {"conv_back_input_wgmma_turned", 41},
	ConvBackInputWGMMAWide:                 {"conv_back_input_wgmma_wide", 41},
	ConvBackInputWGMMALarge:                {"conv_back_input_wgmma_large", 41},
	ConvForwardWGMMABF16:                   {"conv_forward_wgmma_bf16", 41},
	ConvForwardWGMMABF16Tall:               {"conv_forward_wgmma_bf16_tall", 41},
	ConvForwardWGMMABF16Turned:             {"conv_forward_wgmma_bf16_turned", 41},
	ConvForwardWGMMABF16Wide:               {"conv_forward_wgmma_bf16_wide", 41},
	ConvForwardWGMMABF16Large:              {"conv_forward_wgmma_bf16_large", 41},
	ConvBackInputWGMMABF16:                 {"conv_back_input_wgmma_bf16", 41},
	ConvBackInputWGMMABF16Tall:             {"conv_back_input_wgmma_bf16_tall", 41},
	ConvBackInputWGMMABF16Turned:           {"conv_back_input_wgmma_bf16_turned", 41},
	ConvBackInputWGMMABF16Wide:             {"conv_back_input_wgmma_bf16_wide", 41},
	ConvBackInputWGMMABF16Large:            {"conv_back_input_wgmma_bf16_large", 41},
	ConvPack:                               {"conv_pack", 16},
	ConvSpread:                             {"conv_spread", 20},
	ConvSpread4:                            {"conv_spread4", 20},

	ConvForwardTensorSplit:          {"conv_forward_tensor_split", 42},
	ConvForwardTensorSplitWide:      {"conv_forward_tensor_split_wide", 42},
	ConvForwardTensorSplitDeep:      {"conv_forward_tensor_split_deep", 42},
	ConvForwardTensorSplitSmall:     {"conv_forward_tensor_split_small", 42},
	ConvBackInputTensorSplit:        {"conv_back_input_tensor_split", 42},
	ConvBackInputTensorSplitWide:    {"conv_back_input_tensor_split_wide", 42},
	ConvBackInputTensorSplitDeep:    {"conv_back_input_tensor_split_deep", 42},
	ConvBackInputTensorSplitSmall:   {"conv_back_input_tensor_split_small", 42},
	ConvBackWeightsTensorSplit:      {"conv_back_weights_tensor_split", 47},
	ConvBackWeightsTensorSplitSmall: {"conv_back_weights_tensor_split_small", 47},

	GemmNT:              {"gemm_nt", 10},
	GemmNT4:             {"gemm_nt4", 10},
	GemmNTSquare4:       {"gemm_nt_square4", 10},
	GemmNTWide4:         {"gemm_nt_wide4", 10},
	GemmNTTensor4:       {"gemm_nt_tensor4", 10},
	GemmNTTensorSquare4: {"gemm_nt_tensor_square4", 10},
	GemmNTTensorWide4:   {"gemm_nt_tensor_wide4", 10},
	GemmNN:              {"gemm_nn", 10},
	GemmNN4:             {"gemm_nn4", 10},
	GemmNNSquare4:       {"gemm_nn_square4", 10},
	GemmNNWide4:         {"gemm_nn_wide4", 10},
	GemmNNTensor4:       {"gemm_nn_tensor4", 10},
	GemmNNTensorSquare4: {"gemm_nn_tensor_square4", 10},
	GemmNNTensorWide4:   {"gemm_nn_tensor_wide4", 10},
	GemmTN:              {"gemm_tn", 16},
	GemmTN4:             {"gemm_tn4", 16},
	GemmTNSquare4:       {"gemm_tn_square4", 16},
	GemmTNWide4:         {"gemm_tn_wide4", 16},
	GemmTNTensor4:       {"gemm_tn_tensor4", 16},
	GemmTNTensorSquare4: {"gemm_tn_tensor_square4", 16},
	GemmTNTensorWide4:   {"gemm_tn_tensor_wide4", 16},

	GemmNTTensorSplit4:       {"gemm_nt_tensor_split4", 10},
	GemmNTTensorSplitSquare4: {"gemm_nt_tensor_split_square4", 10},
	GemmNTTensorSplitWide4:   {"gemm_nt_tensor_split_wide4", 10},
	GemmNNTensorSplit4:       {"gemm_nn_tensor_split4", 10},
	GemmNNTensorSplitSquare4: {"gemm_nn_tensor_split_square4", 10},
	GemmNNTensorSplitWide4:   {"gemm_nn_tensor_split_wide4", 10},
	GemmTNTensorSplit4:       {"gemm_tn_tensor_split4", 16},
	GemmTNTensorSplitSquare4: {"gemm_tn_tensor_split_square4", 16},
	GemmTNTensorSplitWide4:   {"gemm_tn_tensor_split_wide4", 16},

	PartialSum: {"partial_sum", 64},

	ResidentStep:      {"resident_step", 60},
	ResidentStepSplit: {"resident_step_split", 60},

	GroupedForward:     {"grouped_forward", 19},
	GroupedForward4:    {"grouped_forward4", 19},
	GroupedBackInput:   {"grouped_back_input", 18},
	GroupedBackInput4:  {"grouped_back_input4", 18},
	GroupedBackWeights: {"grouped_back_weights", 20},

	PoolForward:      {"pool_forward", 14},
	PoolForward4:     {"pool_forward4", 14},
	PoolBack:         {"pool_back", 14},
	PoolBack4:        {"pool_back4", 14},
	PoolAverage:      {"pool_average", 13},
	PoolAverage4:     {"pool_average4", 13},
	PoolAverageBack:  {"pool_average_back", 13},
	PoolAverageBack4: {"pool_average_back4", 13},

	UpsampleForward:       {"upsample_forward", 7},
	UpsampleForward4:      {"upsample_forward4", 7},
	UpsampleBack:          {"upsample_back", 7},
	UpsampleBack4:         {"upsample_back4", 7},
	UpsampleBilinear:      {"upsample_bilinear", 8},
	UpsampleBilinear4:     {"upsample_bilinear4", 8},
	UpsampleBilinearBack:  {"upsample_bilinear_back", 8},
	UpsampleBilinearBack4: {"upsample_bilinear_back4", 8},

	DepthToSpace:  {"depth_to_space", 8},
	DepthToSpace4: {"depth_to_space4", 8},
	DepthBack:     {"depth_back", 8},
	DepthBack4:    {"depth_back4", 8},

	ChannelwiseTimes:   {"channelwise_times", 7},
	ChannelwiseTimes4:  {"channelwise_times4", 7},
	ChannelwiseSum:     {"channelwise_sum", 8},
	ChannelwiseSum4:    {"channelwise_sum4", 8},
	ChannelwiseSpread:  {"channelwise_spread", 7},
	ChannelwiseSpread4: {"channelwise_spread4", 7},

	UnitNormForward: {"unitnorm_forward", 7},
	UnitNormBack:    {"unitnorm_back", 8},

	MergePlus:      {"merge_plus", 5},
	MergeChannels:  {"merge_channels", 9},
	MergeChannels4: {"merge_channels4", 9},

	BatchNormStatistics:  {"batchnorm_statistics", 6},
	BatchNormStatistics4: {"batchnorm_statistics4", 6},
	BatchNormSums:        {"batchnorm_sums", 14},
	BatchNormSums4:       {"batchnorm_sums4", 14},
	BatchNormForward:     {"batchnorm_forward", 13},
	BatchNormForward4:    {"batchnorm_forward4", 13},
	BatchNormBack:        {"batchnorm_back", 16},
	BatchNormBack4:       {"batchnorm_back4", 16},
	BatchNormMoments:     {"batchnorm_moments", 8},
	BatchNormTotals:      {"batchnorm_totals", 6},

	ActForward: {"act_forward", 6},
	ActBack:    {"act_back", 7},
	ActRescale: {"act_rescale", 6},

	AttentionForward128:   {"attention_forward128", 10},
	AttentionForward512:   {"attention_forward512", 10},
	AttentionDelta:        {"attention_delta", 8},
	AttentionBackQuery128: {"attention_back_query128", 12},
	AttentionBackQuery512: {"attention_back_query512", 12},
	AttentionBackKey128:   {"attention_back_key128", 13},
	AttentionBackKey512:   {"attention_back_key512", 13},

	GroupNormForward:     {"groupnorm_forward", 16},
	GroupNormForward4:    {"groupnorm_forward4", 16},
	GroupNormBack:        {"groupnorm_back", 19},
	GroupNormBack4:       {"groupnorm_back4", 19},
	GroupNormPixels:      {"groupnorm_pixels", 11},
	GroupNormPixels4:     {"groupnorm_pixels4", 11},
	GroupNormPixelsBack:  {"groupnorm_pixels_back", 11},
	GroupNormPixelsBack4: {"groupnorm_pixels_back4", 11},
	GroupNormScalesBack:  {"groupnorm_scales_back", 14},
	GroupNormScalesBack4: {"groupnorm_scales_back4", 14},

	LossBCE:         {"loss_bce", 6},
	LossMSE:         {"loss_mse", 6},
	LossL1:          {"loss_l1", 6},
	LossHuber:       {"loss_huber", 7},
	LossCharbonnier: {"loss_charbonnier", 7},
	LossVariation:   {"loss_variation", 8},
	LossTotal:       {"loss_total", 4},

	FourierLines: {"fourier_lines", 14},
	FourierMost:  {"fourier_most", 4},
	FourierFocal: {"fourier_focal", 8},

	OptimSGD:      {"optim_sgd", 11},
	OptimAdam:     {"optim_adam", 14},
	OptimNadam:    {"optim_nadam", 13},
	OptimAdadelta: {"optim_adadelta", 12},
	OptimRMSprop:  {"optim_rmsprop", 13},
	OptimLion:     {"optim_lion", 12},

	OptimLambMoments: {"optim_lamb_moments", 11},
	OptimLamb:        {"optim_lamb", 13},

	OptimSGDSums:      {"optim_sgd_sums", 75},
	OptimAdamSums:     {"optim_adam_sums", 78},
	OptimNadamSums:    {"optim_nadam_sums", 77},
	OptimAdadeltaSums: {"optim_adadelta_sums", 76},
	OptimRMSpropSums:  {"optim_rmsprop_sums", 77},
	OptimLionSums:     {"optim_lion_sums", 76},

	RandomNormal:  {"random_normal", 8},
	RandomDropout: {"random_dropout", 12},
	RandomGather:  {"random_gather", 24},

	CorruptSample: {"corrupt_sample", 34},
	CorruptJPEG:   {"corrupt_jpeg", 14},

	GaussianSample:    {"gaussian_sample", 10},
	GaussianBack:      {"gaussian_back", 13},
	GaussianClamp:     {"gaussian_clamp", 6},
	GaussianClampBack: {"gaussian_clamp_back", 7},

	ContractDense:   {"contract_dense", 10},
	ContractPerturb: {"contract_perturb", 10},

	ConcreteSelect: {"concrete_select", 7},
	ConcretePick:   {"concrete_pick", 6},
	ConcreteBack:   {"concrete_back", 8},

	QuantizeForward: {"quantize_forward", 7},
	QuantizeSums:    {"quantize_sums", 12},
	QuantizeMove:    {"quantize_move", 10},

	SSIMForward: {"ssim_forward", 13},
	SSIMBack:    {"ssim_back", 12},
	SSIMLoss:    {"ssim_loss", 12},

	ClipValue:   {"clip_value", 3},
	ClipSquares: {"clip_squares", 3},
	ClipNorm:    {"clip_norm", 5},

	PenaltyNorms:   {"penalty_norms", 6},
	PenaltyColumns: {"penalty_columns", 4},
	PenaltySparse:  {"penalty_sparse", 7},
	PenaltyRow:     {"penalty_row", 4},
	RandomSelect:   {"random_select", 23},
}

// target is the architecture that has a kernel: those on tensor cores are for newer devices, and those by warpgroups for one alone.
func (e Entry) target() target {
	switch name := e.Name(); {
	case strings.Contains(name, "_wgmma"):
		return target{arch: 90, exact: true}
	case strings.Contains(name, "_tensor"), strings.Contains(name, "_pairs"), e == ConvPack, strings.HasPrefix(name, "resident"):
		return target{arch: 80}
	}
	return target{}
}

// MaxParams is the largest number of parameters of a kernel.
const MaxParams = 80

// Name returns the kernel's name in the PTX.
func (e Entry) Name() string { return entries[e].name }

// Params returns the kernel's number of parameters that are no tensor maps.
func (e Entry) Params() int { return entries[e].params }

// Maps returns the kernel's number of parameters behind these that are tensor maps: those that are fed have one of pixels and one of weights.
func (e Entry) Maps() int {
	if strings.Contains(e.Name(), "_fed_") {
		return 2
	}
	return 0
}

// ofBatch lists, of each kernel that is faster with the shape of a layer as constants, the parameters that depend on the number
// of samples. They are no part of the shape, so that one form serves all batches.
var ofBatch = [Count][]int{
	ConvForward:                            {16},
	ConvForward4:                           {16},
	ConvForwardWide4:                       {16},
	ConvForwardSmall4:                      {16},
	ConvForwardEach:                        {16},
	ConvForwardEach4:                       {16},
	ConvBackInput:                          {16},
	ConvBackInput4:                         {16},
	ConvBackInputWide4:                     {16},
	ConvBackInputSmall4:                    {16},
	ConvBackInputEach:                      {16},
	ConvBackInputEach4:                     {16},
	ConvForwardHalo4:                       {16},
	ConvForwardHaloWide4:                   {16},
	ConvForwardHaloSmall4:                  {16},
	ConvBackInputHalo4:                     {16},
	ConvBackInputHaloWide4:                 {16},
	ConvBackInputHaloSmall4:                {16},
	ConvForwardTensor:                      {16},
	ConvForwardTensorWide:                  {16},
	ConvForwardTensorDeep:                  {16},
	ConvForwardTensorSmall:                 {16},
	ConvBackInputTensor:                    {16},
	ConvBackInputTensorWide:                {16},
	ConvBackInputTensorDeep:                {16},
	ConvBackInputTensorSmall:               {16},
	ConvForwardWGMMA:                       {16},
	ConvForwardWGMMATall:                   {16},
	ConvForwardWGMMATurned:                 {16},
	ConvForwardWGMMAWide:                   {16},
	ConvForwardWGMMALarge:                  {16},
	ConvBackInputWGMMA:                     {16},
	ConvBackInputWGMMATall:                 {16},
	ConvBackInputWGMMATurned:               {16},
	ConvBackInputWGMMAWide:                 {16},
	ConvBackInputWGMMALarge:                {16},
	ConvForwardWGMMABF16:                   {16},
	ConvForwardWGMMABF16Tall:               {16},
	ConvForwardWGMMABF16Turned:             {16},
	ConvForwardWGMMABF16Wide:               {16},
	ConvForwardWGMMABF16Large:              {16},
	ConvBackInputWGMMABF16:                 {16},
	ConvBackInputWGMMABF16Tall:             {16},
	ConvBackInputWGMMABF16Turned:           {16},
	ConvBackInputWGMMABF16Wide:             {16},
	ConvBackInputWGMMABF16Large:            {16},
	ConvWGMMAFedForward:                    {16},
	ConvWGMMAFedForwardLarge:               {16},
	ConvWGMMAFedBackInput:                  {16},
	ConvWGMMAFedBackInputLarge:             {16},
	ConvBackWeightsWGMMABF16:               {20, 21, 45},
	ConvBackWeightsWGMMABF16Pool2:          {20, 21, 45},
	ConvBackWeightsWGMMABF16Few:            {20, 21, 45},
	ConvBackWeightsWGMMABF16FewPool2:       {20, 21, 45},
	ConvForwardFew:                         {16},
	ConvForwardFewPool2:                    {16},
	ConvBackInputFew:                       {16},
	ConvForwardFewTensor:                   {16},
	ConvForwardFewTensorPool2:              {16},
	ConvBackInputFewTensor:                 {16},
	ConvForwardLanesTensor:                 {16},
	ConvForwardLanesTensor2:                {16},
	ConvLanesPairsForward:                  {16},
	ConvLanesPairsForward2:                 {16},
	ConvForwardLanes1:                      {16},
	ConvForwardLanes4:                      {16},
	ConvBackInputLanes1:                    {16},
	ConvBackInputLanes4:                    {16},
	ConvBackWeightsFew12:                   {21, 22, 39},
	ConvBackWeightsFew32:                   {21, 22, 39},
	ConvFewPairsForward:                    {16, 30},
	ConvFewPairsForwardPool2:               {16, 30},
	ConvFewPairsBackInput:                  {16, 30},
	ConvFewPairsBackInputUp2:               {16, 30},
	ConvFewPairsForwardSmall:               {16, 30},
	ConvFewPairsForwardSmallPool2:          {16, 30},
	ConvFewPairsBackInputSmall:             {16, 30},
	ConvFewPairsBackInputSmallUp2:          {16, 30},
	ConvBackWeightsFewTensorBF16:           {20, 21},
	ConvBackWeightsFewTensorBF16Pool2:      {20, 21},
	ConvBackWeightsFewTensorBF16Up2:        {20, 21},
	ConvBackWeightsFewTensorBF16Small:      {20, 21},
	ConvBackWeightsFewTensorBF16SmallPool2: {20, 21},
	ConvBackWeightsFewTensorBF16SmallUp2:   {20, 21},
	ConvBackWeights:                        {22, 23, 38},
	ConvBackWeights4:                       {22, 23, 38},
	ConvBackWeightsFew4:                    {22, 23, 38},
	ConvBackWeightsHalo4:                   {20, 21, 40},
	ConvBackWeightsTensor:                  {20, 21, 44},
	ConvBackWeightsTensorSmall:             {20, 21, 44},
	ConvForwardTensorBF16:                  {16},
	ConvForwardTensorBF16Wide:              {16},
	ConvForwardTensorBF16Deep:              {16},
	ConvForwardTensorBF16Small:             {16},
	ConvBackInputTensorBF16:                {16},
	ConvBackInputTensorBF16Wide:            {16},
	ConvBackInputTensorBF16Deep:            {16},
	ConvBackInputTensorBF16Small:           {16},
	ConvBackWeightsTensorBF16:              {20, 21, 44},
	ConvBackWeightsTensorBF16Small:         {20, 21, 44},
	ConvPack:                               {},
	ConvSpread:                             {},
	ConvSpread4:                            {},
	GemmNT:                                 {4},
	GemmNT4:                                {4},
	GemmNTSquare4:                          {4},
	GemmNTWide4:                            {4},
	GemmNN:                                 {4},
	GemmNN4:                                {4},
	GemmNNSquare4:                          {4},
	GemmNNWide4:                            {4},
	GemmTN:                                 {5, 6, 11},
	GemmTN4:                                {5, 6, 11},
	GemmTNSquare4:                          {5, 6, 11},
	GemmTNWide4:                            {5, 6, 11},
	GemmNTTensor4:                          {4},
	GemmNTTensorSquare4:                    {4},
	GemmNTTensorWide4:                      {4},
	GemmNNTensor4:                          {4},
	GemmNNTensorSquare4:                    {4},
	GemmNNTensorWide4:                      {4},
	GemmTNTensor4:                          {5, 6, 11},
	GemmTNTensorSquare4:                    {5, 6, 11},
	GemmTNTensorWide4:                      {5, 6, 11},

	ConvForwardTensorSplit:          {16},
	ConvForwardTensorSplitWide:      {16},
	ConvForwardTensorSplitDeep:      {16},
	ConvForwardTensorSplitSmall:     {16},
	ConvBackInputTensorSplit:        {16},
	ConvBackInputTensorSplitWide:    {16},
	ConvBackInputTensorSplitDeep:    {16},
	ConvBackInputTensorSplitSmall:   {16},
	ConvBackWeightsTensorSplit:      {20, 21, 44},
	ConvBackWeightsTensorSplitSmall: {20, 21, 44},
	GemmNTTensorSplit4:              {4},
	GemmNTTensorSplitSquare4:        {4},
	GemmNTTensorSplitWide4:          {4},
	GemmNNTensorSplit4:              {4},
	GemmNNTensorSplitSquare4:        {4},
	GemmNNTensorSplitWide4:          {4},
	GemmTNTensorSplit4:              {5, 6, 11},
	GemmTNTensorSplitSquare4:        {5, 6, 11},
	GemmTNTensorSplitWide4:          {5, 6, 11},
}

// Specialised reports whether a form of the kernel for one shape, in which the parameters that describe it are constants, is
// faster than the general one by the model of an H100.
func (e Entry) Specialised() bool { return ofBatch[e] != nil }

// OfBatch reports whether a parameter of such a kernel depends on the number of samples, and not on the shape of a layer.
func (e Entry) OfBatch(param int) bool { return slices.Contains(ofBatch[e], param) }

// Module is a PTX file with the entries to take from it.
type Module struct {
	File    string
	PTX     string
	Entries []Entry
}

// Target returns the architecture that the PTX was made for, such as "sm_75".
func (m Module) Target() string {
	_, s, _ := strings.Cut(strings.TrimSuffix(m.File, ".ptx"), ".")
	return s
}

// Select returns the modules that give a device of compute capability major.minor its best form of every entry, but for those that are
// for newer devices. It is an error when the device is too old for another.
func Select(major, minor int) ([]Module, error) { return choose(all(), major, minor) }

// file is a PTX file with the least architecture that it runs on.
type file struct {
	name string
	ptx  string
	target
}

// target is an architecture such as sm_75. An exact one (sm_90a) runs on nothing newer.
type target struct {
	arch  int
	exact bool
}

func (t target) runsOn(arch int) bool { return t.arch == arch || t.arch < arch && !t.exact }

// all returns the embedded files.
func all() []file {
	names, err := files.ReadDir(".")
	if err != nil {
		panic("kernels: reading the embedded files")
	}
	var list []file
	for _, n := range names {
		ptx, err := files.ReadFile(n.Name())
		if err != nil {
			panic("kernels: reading the embedded files")
		}
		list = append(list, file{n.Name(), string(ptx), parseTarget(n.Name())})
	}
	return list
}

// parseTarget returns the target in a file's name.
func parseTarget(name string) target {
	s := strings.TrimPrefix(Module{File: name}.Target(), "sm_")
	digits := strings.TrimSuffix(s, "a")
	arch, err := strconv.Atoi(digits)
	if err != nil {
		panic("kernels: a PTX file whose name has no target")
	}
	return target{arch, digits != s}
}

// choose takes every entry from the best file that has it.
func choose(list []file, major, minor int) ([]Module, error) {
	arch := 10*major + minor
	list = slices.DeleteFunc(list, func(f file) bool { return !f.runsOn(arch) })
	slices.SortStableFunc(list, func(a, b file) int { return cmp.Compare(b.arch, a.arch) })
	modules := make([]Module, len(list))
	best := map[string]int{} // by entry, its file
	for i, f := range slices.Backward(list) {
		modules[i] = Module{File: f.name, PTX: f.ptx}
		for _, s := range strings.Split(f.ptx, ".entry ")[1:] {
			name, _, _ := strings.Cut(s, "(")
			best[name] = i
		}
	}
	for e := range Entry(Count) {
		i, ok := best[e.Name()]
		if !ok && !e.target().runsOn(arch) {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("kernels: compute capability %d.%d is too old for %s", major, minor, e.Name())
		}
		modules[i].Entries = append(modules[i].Entries, e)
	}
	return slices.DeleteFunc(modules, func(m Module) bool { return m.Entries == nil }), nil
}
