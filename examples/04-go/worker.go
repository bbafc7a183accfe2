// A worker: prints a greeting every second, or as often as its first argument says, for ever or so many times.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	every, times := time.Second, -1
	if len(os.Args) > 1 {
		wish, err := time.ParseDuration(os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(2)
		}
		every = wish
	}
	if len(os.Args) > 2 {
		wish, err := strconv.Atoi(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(2)
		}
		times = wish
	}
	for i := 0; i != times; i++ {
		fmt.Println("Hello from Go!", i)
		time.Sleep(every)
	}
}
