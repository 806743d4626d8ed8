//go:build !loop_poll

package loop

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is io_uring(7): what a round of the loop has to say to the kernel goes there in one system call, which brings back what has
// arrived. Only the loop's thread may enter it, and the kernel touches it only then.
type ring struct {
	fd   int
	maps [][]byte

	sqHead, sqTail *uint32 // shared with the kernel, as are the next three and what they count
	cqHead, cqTail *uint32
	sqFlags        *uint32
	sqes           []sqe
	cqes           []cqe
	prepared       uint32 // the tail that the kernel will see: entries of sqes that are filled
	most           uint32 // how many of them one call hands over

	lending *[chunks]lent // the buffers that the kernel may fill
	tail    uint16        // of lending
	memory  []byte        // behind them

	wait getEvents
	time struct{ seconds, nanoseconds int64 } // 64 bits everywhere, other than unix.Timespec
}

const (
	sqEntries = 512
	cqEntries = 4096
	// chunks buffers of chunkSize bytes are lent to the kernel, for what arrives on any of a loop's connections. They come back at
	// the end of a round.
	chunks    = 1024
	chunkSize = 2 << 10
)

// What follows is <linux/io_uring.h>.

type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	opFlags  uint32
	userData uint64
	bufGroup uint16
	_        uint16
	optLen   uint32
	_        [2]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

type lent struct {
	addr uint64
	len  uint32
	id   uint16
	tail uint16 // in the first entry: the ring's
}

type getEvents struct {
	sigmask     uint64
	sigmaskSize uint32
	_           uint32
	time        uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, _, _, features, _ uint32
	_                                              [3]uint32
	sq                                             struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

const (
	setupCQSize       = 1 << 3
	setupDisabled     = 1 << 6
	setupSubmitAll    = 1 << 7
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featExtArg     = 1 << 8

	offSQRing = 0
	offSQEs   = 0x10000000

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	registerEnable = 12
	registerChunks = 22

	opPollAdd = 6
	opCancel  = 14
	opSend    = 26
	opRecv    = 27

	sqeBufferSelect = 1 << 5
	sqeSkipSuccess  = 1 << 6
	recvMultishot   = 1 << 1 // in ioprio
	pollMultishot   = 1 << 0 // in len
	cancelAll       = 1 << 0
	cancelFD        = 1 << 1

	sqOverflow = 1 << 1 // in the flags of the ring

	cqeBuffer = 1 << 0
	cqeMore   = 1 << 1
)

// newRing makes a ring, or says why there is none: the kernel is older than 6.1, or forbids it.
func newRing() (*ring, error) {
	p := ringParams{cqEntries: cqEntries, flags: setupCQSize | setupDisabled | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun}
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, sqEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd), most: sqEntries}
	unix.CloseOnExec(r.fd)
	const need = featSingleMmap | featNoDrop | featExtArg
	if p.features&need != need {
		r.close()
		return nil, fmt.Errorf("io_uring lacks features %#x", need&^p.features)
	}
	if err := r.share(&p); err != nil {
		r.close()
		return nil, err
	}
	if err := r.lend(); err != nil {
		r.close()
		return nil, err
	}
	r.wait.time = uint64(uintptr(unsafe.Pointer(&r.time)))
	return r, nil
}

// share maps what the kernel and the loop share.
func (r *ring) share(p *ringParams) error {
	size := max(int(p.sq.array+p.sqEntries*4), int(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{}))))
	b, err := r.mmap(r.fd, offSQRing, size)
	if err != nil {
		return err
	}
	entries, err := r.mmap(r.fd, offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})))
	if err != nil {
		return err
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[offset])) }
	r.sqHead, r.sqTail, r.cqHead, r.cqTail, r.sqFlags = at(p.sq.head), at(p.sq.tail), at(p.cq.head), at(p.cq.tail), at(p.sq.flags)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&b[p.cq.cqes])), p.cqEntries)
	for i := range p.sqEntries {
		*at(p.sq.array + i*4) = i
	}
	return nil
}

// lend gives the kernel its buffers.
func (r *ring) lend() error {
	var err error
	if r.memory, err = r.mmap(-1, 0, chunks*chunkSize); err != nil {
		return err
	}
	b, err := r.mmap(-1, 0, chunks*int(unsafe.Sizeof(lent{})))
	if err != nil {
		return err
	}
	r.lending = (*[chunks]lent)(unsafe.Pointer(&b[0]))
	register := struct {
		addr    uint64
		entries uint32
		group   uint16
		flags   uint16
		_       [3]uint64
	}{addr: uint64(uintptr(unsafe.Pointer(&b[0]))), entries: chunks}
	if err := r.register(registerChunks, unsafe.Pointer(&register), 1); err != nil {
		return err
	}
	for id := range chunks {
		r.giveBack(uint16(id))
	}
	r.publish()
	return nil
}

func (r *ring) mmap(fd int, offset int64, size int) ([]byte, error) {
	flags := unix.MAP_SHARED | unix.MAP_POPULATE
	if fd < 0 {
		flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	}
	b, err := unix.Mmap(fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map io_uring: %w", err)
	}
	r.maps = append(r.maps, b)
	return b, nil
}

func (r *ring) register(what uintptr, arg unsafe.Pointer, n uintptr) error {
	_, _, errno := syscall.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_register %d: %w", what, errno)
	}
	return nil
}

// enable makes the calling thread the only one that may enter the ring.
func (r *ring) enable() error { return r.register(registerEnable, nil, 0) }

// mayEnter says why the calling thread may not enter the ring.
func (r *ring) mayEnter() error {
	if errno := r.try(0, 0, enterGetEvents, nil, 0); errno != 0 {
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	return nil
}

func (r *ring) close() {
	unix.Close(r.fd)
	for _, b := range r.maps {
		unix.Munmap(b)
	}
	r.maps = nil
}

// giveBack lends a buffer to the kernel again, once publish says so.
func (r *ring) giveBack(id uint16) {
	e := &r.lending[r.tail%chunks]
	e.addr, e.len, e.id = uint64(uintptr(unsafe.Pointer(&r.memory[int(id)*chunkSize]))), chunkSize, id
	r.tail++
}

func (r *ring) publish() {
	// The tail is the second half of a word of which the first one is the id of the first entry, which only we write.
	var b [4]byte
	binary.NativeEndian.PutUint16(b[:], r.lending[0].id)
	binary.NativeEndian.PutUint16(b[2:], r.tail)
	word := (*uint32)(unsafe.Pointer(&r.lending[0].id))
	atomic.StoreUint32(word, binary.NativeEndian.Uint32(b[:]))
}

// full says that nothing more can be prepared before enter.
func (r *ring) full() bool { return r.prepared-atomic.LoadUint32(r.sqHead) >= uint32(len(r.sqes)) }

// entry gives the next empty entry; there must be one.
func (r *ring) entry() *sqe {
	e := &r.sqes[r.prepared%uint32(len(r.sqes))]
	r.prepared++
	*e = sqe{}
	return e
}

// submit tells the kernel what was prepared.
func (r *ring) submit() { r.call(0, 0, 0, nil, 0) }

// enter does that, and waits for a completion: 0 not at all, a negative time without end. A wait of up to rawWait is unknown to the
// scheduler (see epoll.poll).
func (r *ring) enter(d time.Duration) {
	switch {
	case d == 0:
		r.call(0, 0, enterGetEvents, nil, 0)
	case d < 0:
		r.call(d, 1, enterGetEvents, nil, 0)
	default:
		r.time.seconds, r.time.nanoseconds = int64(d/time.Second), int64(d%time.Second)
		r.call(d, 1, enterGetEvents|enterExtArg, unsafe.Pointer(&r.wait), unsafe.Sizeof(r.wait))
	}
}

// call returns when the kernel has taken all that was prepared: what is not said to have failed counts as done. It takes less when it has
// no memory for more, and then does not wait either.
func (r *ring) call(d time.Duration, complete, flags uintptr, arg unsafe.Pointer, size uintptr) {
	beforeWrite()
	atomic.StoreUint32(r.sqTail, r.prepared)
	for tries := 0; ; tries++ {
		errno := r.try(d, complete, flags, arg, size)
		switch errno {
		case 0, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY:
		default:
			panic(fmt.Sprintf("io_uring_enter: %v", errno)) // the kernel and we understand each other no longer
		}
		if atomic.LoadUint32(r.sqHead) == r.prepared {
			break
		}
		if tries == maxTries {
			panic(fmt.Sprintf("io_uring_enter takes no orders: %v", errno))
		}
		time.Sleep(time.Millisecond)
		flags |= enterGetEvents
	}
	afterRead()
}

// maxTries is for how many milliseconds the kernel may have no memory.
const maxTries = 10_000

func (r *ring) try(d time.Duration, complete, flags uintptr, arg unsafe.Pointer, size uintptr) (errno syscall.Errno) {
	submit := uintptr(min(r.prepared-atomic.LoadUint32(r.sqHead), r.most))
	if 0 <= d && d <= rawWait {
		_, _, errno = syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, complete, flags, uintptr(arg), size)
	} else {
		_, _, errno = syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, complete, flags, uintptr(arg), size)
	}
	return errno
}

// next takes one completion. Those for which there was no room are fetched when it is there: nothing is said to have been done before
// they are known.
func (r *ring) next() (c cqe, ok bool) {
	head := *r.cqHead
	if head == atomic.LoadUint32(r.cqTail) {
		if atomic.LoadUint32(r.sqFlags)&sqOverflow == 0 {
			return cqe{}, false
		}
		r.enter(0)
		if head == atomic.LoadUint32(r.cqTail) {
			return cqe{}, false
		}
	}
	c = r.cqes[head%uint32(len(r.cqes))]
	atomic.StoreUint32(r.cqHead, head+1)
	return c, true
}

// chunk is what a completion brought.
func (r *ring) chunk(c cqe) (id uint16, b []byte) {
	id = uint16(c.flags >> 16)
	at := int(id) * chunkSize
	return id, r.memory[at : at+int(max(c.res, 0))]
}
