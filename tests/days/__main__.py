from tests.days.day import one_day
import sys
a=[x for x in sys.argv[1:] if x.isdigit()]
import time
for s in range(int(a[0]),int(a[1])):
    t=time.time(); d=one_day(s,"--losing" in sys.argv); 
    print(s,d.kind,"ok" if not d.problem else d.problem[:6000], f"{time.time()-t:.2f}s")
