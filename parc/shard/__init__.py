"""The FX pass: capture, place, rewrite. The only home of torch.fx and torch.export."""
