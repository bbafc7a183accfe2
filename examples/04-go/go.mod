module sampan.example/worker

go 1.21
