"""`python -m benchmarks instructions`: instructions that the server takes for a job, counted by callgrind, against those of counts.txt."""
