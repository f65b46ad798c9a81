"""Which invertible convolution to take: what each can do, what it costs, and what it reaches."""
