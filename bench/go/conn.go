package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	windowMax     = 1<<31 - 1
	windowDefault = 65535
	refillAt      = 1 << 30 // Received bytes after which the connection's window is opened again.
	dialTimeout   = 30 * time.Second
)

// arrival is one message of a stream, or its end (message nil, ended true).
type arrival struct {
	stream  uint32
	message []byte // Valid until the next call of take.
	size    int    // Bytes of DATA, gRPC's prefix included.
	ended   bool
	refused bool // Ended with a grpc-status other than 0, or without one, or by a reset.
}

// conn is one HTTP/2 connection, used by one goroutine (or two, by takeLocked). Header blocks are indexed by HPACK as a
// usual client's are; messages are small, so that only the connection's send window can run out.
type conn struct {
	socket   net.Conn
	reader   *bufio.Reader
	writer   *bufio.Writer
	framer   *http2.Framer
	encoder  *hpack.Encoder
	block    bytes.Buffer
	addr     string
	scheme   string
	next     uint32
	window   int64
	unsent   []frame
	received int64
	partial  map[uint32][]byte
}

type frame struct {
	stream uint32
	data   []byte
	end    bool
}

func dial(t *target, config *tls.Config) (*conn, error) {
	var socket net.Conn
	var err error
	scheme := "http"
	dialer := &net.Dialer{Timeout: dialTimeout}
	if config != nil {
		scheme = "https"
		socket, err = tls.DialWithDialer(dialer, "tcp", t.addr, config)
	} else {
		socket, err = dialer.Dial("tcp", t.addr)
	}
	if err != nil {
		return nil, err
	}
	c := &conn{
		socket: socket, addr: t.addr, scheme: scheme, next: 1, window: windowDefault,
		reader: bufio.NewReaderSize(socket, 1<<16), writer: bufio.NewWriterSize(socket, 1<<16),
		partial: map[uint32][]byte{},
	}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.writer, c.reader)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetMaxReadFrameSize(1<<24 - 1)
	if _, err = c.writer.WriteString(http2.ClientPreface); err != nil {
		return nil, err
	}
	if err = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowMax},
	); err != nil {
		return nil, err
	}
	return c, c.framer.WriteWindowUpdate(0, windowMax-windowDefault)
}

// open starts a stream of a method such as "KV/Put".
func (c *conn) open(method string) (uint32, error) {
	c.block.Reset()
	for _, field := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: c.scheme},
		{Name: ":path", Value: "/etcdserverpb." + method}, {Name: ":authority", Value: c.addr},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	} {
		if err := c.encoder.WriteField(field); err != nil {
			return 0, err
		}
	}
	stream := c.next
	c.next += 2
	return stream, c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true,
	})
}

// send queues framed messages; flush takes them to the socket as far as the window allows.
func (c *conn) send(stream uint32, data []byte, end bool) error {
	c.unsent = append(c.unsent, frame{stream, data, end})
	return c.release()
}

func (c *conn) release() error {
	sent := 0
	for _, each := range c.unsent {
		if int64(len(each.data)) > c.window {
			break
		}
		if err := c.framer.WriteData(each.stream, each.end, each.data); err != nil {
			return err
		}
		c.window -= int64(len(each.data))
		sent++
	}
	c.unsent = c.unsent[sent:]
	return nil
}

func (c *conn) flush() error { return c.writer.Flush() }

// take reads one frame and hands what it brings to `got`. It flushes before it would block.
func (c *conn) take(got func(arrival) error) error {
	if c.reader.Buffered() == 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	read, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch f := read.(type) {
	case *http2.DataFrame:
		return c.takeData(f, got)
	case *http2.MetaHeadersFrame:
		if f.StreamEnded() {
			delete(c.partial, f.StreamID)
			status := "missing"
			for _, field := range f.Fields {
				if field.Name == "grpc-status" {
					status = field.Value
				}
			}
			return got(arrival{stream: f.StreamID, ended: true, refused: status != "0"})
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
			return c.release()
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		return got(arrival{stream: f.StreamID, ended: true, refused: true})
	case *http2.GoAwayFrame:
		return fmt.Errorf("GOAWAY %v %q", f.ErrCode, f.DebugData())
	}
	return nil
}

// takeLocked is take for a goroutine that reads while another writes under `mu`, which is held only
// while a frame is there to be looked at.
func (c *conn) takeLocked(mu *sync.Mutex, got func(arrival) error) error {
	if c.reader.Buffered() == 0 {
		if _, err := c.reader.Peek(1); err != nil {
			return err
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if err := c.take(got); err != nil {
		return err
	}
	return c.flush()
}

func (c *conn) takeData(f *http2.DataFrame, got func(arrival) error) error {
	c.received += int64(f.Header().Length)
	if c.received >= refillAt {
		if err := c.framer.WriteWindowUpdate(0, uint32(c.received)); err != nil {
			return err
		}
		c.received = 0
	}
	data := f.Data()
	if before, some := c.partial[f.StreamID]; some {
		data = append(before, data...)
		delete(c.partial, f.StreamID)
	}
	for len(data) >= 5 {
		end := 5 + int(binary.BigEndian.Uint32(data[1:5]))
		if len(data) < end {
			break
		}
		if err := got(arrival{stream: f.StreamID, message: data[5:end], size: end}); err != nil {
			return err
		}
		data = data[end:]
	}
	if len(data) > 0 {
		c.partial[f.StreamID] = append([]byte(nil), data...)
	}
	if f.StreamEnded() {
		delete(c.partial, f.StreamID)
		return got(arrival{stream: f.StreamID, ended: true, refused: true})
	}
	return nil
}

// framed puts gRPC's prefix before a message.
func framed(message []byte) []byte {
	out := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	return append(out, message...)
}
