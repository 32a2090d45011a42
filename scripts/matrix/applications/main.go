// The application of the matrix on Go's net/http.
//
//	server PORT IDLE_SECONDS
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var block = func() []byte {
	bytes := make([]byte, 65536)
	for n := range bytes {
		bytes[n] = byte(n)
	}
	return bytes
}()

func number(request *http.Request, name string) int {
	value, _ := strconv.Atoi(request.URL.Query().Get(name))
	return value
}

func inspect(response http.ResponseWriter, request *http.Request) {
	pause := time.Duration(number(request, "pause")) * time.Millisecond
	hash := sha256.New()
	size := int64(0)
	for {
		read, err := io.CopyN(hash, request.Body, 65536)
		size += read
		if err != nil {
			break
		}
		time.Sleep(pause)
	}
	headers := [][2]string{}
	for name, values := range request.Header {
		for _, value := range values {
			headers = append(headers, [2]string{name, value})
		}
	}
	response.Header().Set("Content-Type", "application/json")
	json.NewEncoder(response).Encode(map[string]interface{}{
		"method": request.Method, "headers": headers, "bytes": size, "sha256": hex.EncodeToString(hash.Sum(nil)),
	})
}

func hold(response http.ResponseWriter, request *http.Request) {
	io.Copy(io.Discard, request.Body)
	time.Sleep(time.Duration(number(request, "ms")) * time.Millisecond)
	io.WriteString(response, "held\n")
}

func events(response http.ResponseWriter, request *http.Request) {
	response.Header().Set("Content-Type", "text/event-stream")
	response.Header().Set("Cache-Control", "no-store")
	gap := time.NewTicker(time.Duration(number(request, "gap")) * time.Millisecond)
	defer gap.Stop()
	for n := 0; ; n++ {
		fmt.Fprintf(response, "data: %d\n\n", n)
		response.(http.Flusher).Flush()
		select {
		case <-gap.C:
		case <-request.Context().Done():
			return
		}
	}
}

func download(response http.ResponseWriter, request *http.Request) {
	left := number(request, "bytes")
	if request.URL.Query().Has("length") {
		response.Header().Set("Content-Length", strconv.Itoa(left))
	}
	for left > 0 {
		size := len(block)
		if left < size {
			size = left
		}
		if _, err := response.Write(block[:size]); err != nil {
			return
		}
		left -= size
	}
}

var upgrader = websocket.Upgrader{}

func echo(response http.ResponseWriter, request *http.Request) {
	socket, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		if kind == websocket.TextMessage && string(message) == "close" {
			reason := websocket.FormatCloseMessage(4001, "as asked")
			socket.WriteControl(websocket.CloseMessage, reason, time.Now().Add(time.Second))
			socket.ReadMessage()
			return
		}
		if socket.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func main() {
	idle, _ := strconv.Atoi(os.Args[2])
	http.HandleFunc("/hello", func(response http.ResponseWriter, _ *http.Request) { io.WriteString(response, "hello\n") })
	http.HandleFunc("/inspect", inspect)
	http.HandleFunc("/hold", hold)
	http.HandleFunc("/events", events)
	http.HandleFunc("/file", func(response http.ResponseWriter, request *http.Request) {
		http.ServeFile(response, request, os.Getenv("MATRIX_FILES")+"/file.bin")
	})
	http.HandleFunc("/status/", func(response http.ResponseWriter, request *http.Request) {
		status, _ := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/status/"))
		response.WriteHeader(status)
	})
	http.HandleFunc("/download", download)
	http.HandleFunc("/ws", echo)
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], IdleTimeout: time.Duration(idle) * time.Second}
	log.Fatal(server.ListenAndServe())
}
