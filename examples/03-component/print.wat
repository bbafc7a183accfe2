;; A command component that prints a line to wasi:cli/stdout.
(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output (sub resource)))
    (alias outer 1 $error (type $io-error))
    (export "error" (type $failure (eq $io-error)))
    (type $reason (variant (case "last-operation-failed" (own $failure)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $reason)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $stream))
    (export "output-stream" (type $stream-here (eq $stream)))
    (export "get-stdout" (func (result (own $stream-here))))))

  (core module $store (memory (export "memory") 1))
  (core instance $store (instantiate $store))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory (core memory $store "memory"))))

  (core module $code
    (import "host" "get" (func $get (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "store" "memory" (memory 1))
    (data (i32.const 16) "Hello from a component!\n")
    (func (export "run") (result i32)
      ;; the stream, the text and its length, and where the result goes: 0 in its first byte is success
      (call $write (call $get) (i32.const 16) (i32.const 24) (i32.const 0))
      (i32.load8_u (i32.const 0))))
  (core instance $code (instantiate $code
    (with "host" (instance (export "get" (func $get)) (export "write" (func $write))))
    (with "store" (instance $store))))
  (func $run (result (result)) (canon lift (core func $code "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
