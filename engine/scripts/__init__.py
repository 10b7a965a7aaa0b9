"""One module for each Lua script, with one typed function in it. Reply codes become values or exceptions here and nowhere else."""
