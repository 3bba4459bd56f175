//go:build cuda && linux

package driver

// CUresults that advice is known for; cuda.h has them all.
const (
	outOfMemory        = 2
	stubLibrary        = 34
	deviceUnavailable  = 46
	noDevice           = 100
	noBinaryForGPU     = 209
	eccUncorrectable   = 214
	invalidPTX         = 218
	nvlinkFailed       = 220
	noJITCompiler      = 221
	unsupportedPTX     = 222
	jitDisabled        = 223
	operatingSystem    = 304
	illegalAddress     = 700
	launchTimeout      = 702
	stackError         = 714
	illegalInstruction = 715
	misalignedAddress  = 716
	invalidSpace       = 717
	invalidPC          = 718
	launchFailed       = 719
	notPermitted       = 800
	systemNotReady     = 802
	driverMismatch     = 803
	compatNotSupported = 804
	mpsConnection      = 805
	mpsRPC             = 806
	mpsNotReady        = 807
	mpsClients         = 808
	mpsConnections     = 809
	mpsTerminated      = 810
	deviceLost         = 911 // CUDA_ERROR_EXTERNAL_DEVICE
	unknown            = 999
)

const (
	resumeAdvice = "the device cannot be used any more by this process; a training run goes on from its last checkpoint with --resume, and \"dmesg | grep Xid\" may tell why"
	bugAdvice    = "a kernel did what it must not: this is a defect of convae, and \"compute-sanitizer convae check --device cuda\" shows where; a training run goes on from its last checkpoint with --resume"
	driverAdvice = "install a newer NVIDIA driver"
	mpsAdvice    = "the Multi-Process Service does not answer: start it with \"nvidia-cuda-mps-control -d\", or run without it by unsetting CUDA_MPS_PIPE_DIRECTORY; a container needs the folder that CUDA_MPS_PIPE_DIRECTORY names and \"--ipc=host\""
)

// advice tells what a person can do about a CUresult of a call.
func advice(call string, code int) string {
	switch code {
	case outOfMemory:
		return "other processes may hold the device's memory (nvidia-smi shows them); else take a smaller batch"
	case stubLibrary:
		return "the libcuda.so.1 that was found is the toolkit's stub: take its folder out of LD_LIBRARY_PATH"
	case deviceUnavailable:
		return "the device is in an exclusive or prohibited compute mode, and another process may hold it (nvidia-smi shows mode and processes): end that process, or set the mode with \"nvidia-smi -c DEFAULT\""
	case noDevice:
		return "see what nvidia-smi lists; a container needs \"--gpus all\" and the NVIDIA container toolkit"
	case noBinaryForGPU, invalidPTX, unsupportedPTX:
		return "the driver is too old for the kernels' PTX: " + driverAdvice
	case noJITCompiler:
		return "the driver's libnvidia-ptxjitcompiler.so.1 is missing: install the whole driver; a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility"
	case jitDisabled:
		return "CUDA_DISABLE_PTX_JIT forbids the driver to compile the kernels: unset it"
	case operatingSystem:
		return "the operating system has refused the driver something: \"dmesg\" and \"ulimit -a\" may tell what; a container needs all of /dev/nvidia*, with /dev/nvidia-uvm"
	case illegalAddress, stackError, illegalInstruction, misalignedAddress, invalidSpace, invalidPC, launchFailed:
		return bugAdvice
	case launchTimeout:
		return "the device also drives a display, whose watchdog has ended a kernel: take a smaller batch or another device; a training run goes on from its last checkpoint with --resume"
	case unknown:
		if call == "cuInit" {
			return "the driver cannot start: load its modules anew (\"sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm\") or restart the machine, which helps after a suspend and after an update of the driver"
		}
		return resumeAdvice
	case eccUncorrectable, nvlinkFailed, deviceLost:
		return resumeAdvice
	case notPermitted:
		return "the process may not use the device: look at the rights of /dev/nvidia*"
	case systemNotReady:
		return "machines with NVSwitch (HGX, DGX) need the fabric manager of the same version as the driver: \"systemctl status nvidia-fabricmanager\" tells whether it runs; it may still be starting"
	case mpsConnection, mpsRPC, mpsNotReady:
		return mpsAdvice
	case mpsClients, mpsConnections:
		return "the Multi-Process Service has as many clients as it takes: wait for one to end"
	case mpsTerminated:
		return "the Multi-Process Service has ended this process, often because another of its clients failed; a training run goes on from its last checkpoint with --resume"
	case driverMismatch, compatNotSupported:
		return "the driver's kernel module and its libraries are of different versions: restart the machine, or " + driverAdvice
	}
	return ""
}
