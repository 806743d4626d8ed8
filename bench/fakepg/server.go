//go:build linux

// Package fakepg is a PostgreSQL that answers at once: it speaks the protocol to any client that logs in, and knows
// just enough SQL to send plausible replies, so that what a benchmark measures is the proxy in front of it.
//
// It does not know data, roles, errors of SQL, or who is asking.
package fakepg

import (
	"fmt"
	"net"
	"syscall"

	"github.com/claimpool/claimpool/bench/epoll"
)

// Server is one fake server: one listener, one epoll instance, one goroutine.
type Server struct {
	listener int
	port     int
	poll     *epoll.Poll
	sessions []*session // by descriptor
	answers  answers
	in       []byte // what was just read, for whichever session it was
	out      []byte // what that session answers
}

// Listen opens the fake server on a loopback port; port 0 chooses a free one.
func Listen(port int) (*Server, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open listener: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, fmt.Errorf("open listener: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	if err := syscall.Listen(fd, 4096); err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	poll, err := epoll.New()
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	if err := poll.Add(fd); err != nil {
		return nil, fmt.Errorf("watch listener: %w", err)
	}
	return &Server{
		listener: fd, port: name.(*syscall.SockaddrInet4).Port, poll: poll,
		answers: answers{}, in: make([]byte, 256<<10), out: make([]byte, 0, 64<<10),
	}, nil
}

// Addr is the address to connect to.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(s.port)) }

// Close ends Serve. It may be called from another goroutine.
func (s *Server) Close() error { return syscall.Shutdown(s.listener, syscall.SHUT_RDWR) }

// Serve answers until Close is called.
func (s *Server) Serve() error {
	defer s.closeAll()
	for {
		events, err := s.poll.Wait(-1)
		if err != nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		for i := range events {
			fd := int(events[i].Fd)
			switch {
			case fd == s.listener:
				if !s.accept() {
					return nil
				}
			case events[i].Events&syscall.EPOLLOUT != 0:
				s.flush(s.sessions[fd])
			default:
				s.receive(s.sessions[fd])
			}
		}
	}
}

// accept takes all waiting connections; the result is false when the listener is closed.
func (s *Server) accept() bool {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return err != syscall.EINVAL // else EAGAIN, or a client that has gone again
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		for len(s.sessions) <= fd {
			s.sessions = append(s.sessions, nil)
		}
		s.sessions[fd] = &session{fd: fd, status: 'I'}
		if err := s.poll.Add(fd); err != nil {
			s.close(s.sessions[fd])
		}
	}
}

func (s *Server) receive(c *session) {
	n, errno := epoll.Read(c.fd, s.in)
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return
	}
	if errno != 0 || n == 0 {
		s.close(c)
		return
	}
	var more bool
	s.out, more = c.take(s.in[:n], s.out[:0], s.answers)
	if !more {
		s.close(c)
		return
	}
	if len(s.out) == 0 {
		return
	}
	n, errno = epoll.Write(c.fd, s.out)
	if errno != 0 {
		s.close(c)
		return
	}
	if n < len(s.out) {
		c.unsent = append(c.unsent[:0], s.out[n:]...)
		_ = s.poll.WatchOutput(c.fd, true)
	}
}

// flush goes on sending a long reply; the session reads nothing until it is out.
func (s *Server) flush(c *session) {
	n, errno := epoll.Write(c.fd, c.unsent)
	if errno != 0 {
		s.close(c)
		return
	}
	if c.unsent = c.unsent[n:]; len(c.unsent) == 0 {
		c.unsent = nil
		_ = s.poll.WatchOutput(c.fd, false)
	}
}

func (s *Server) close(c *session) {
	s.sessions[c.fd] = nil
	_ = syscall.Close(c.fd)
}

func (s *Server) closeAll() {
	for _, c := range s.sessions {
		if c != nil {
			s.close(c)
		}
	}
	_ = syscall.Close(s.listener)
	_ = s.poll.Close()
}
